#include "kernels/common/reduction_axes.h"

#include "core/op.h"

namespace tern {

AxisMask axis_mask(std::string_view op, const Shape& shape, const std::vector<int>& axes) {
  AxisMask mask;
  if (axes.empty())
    for (int i = 0; i < shape.rank(); ++i) mask.set(static_cast<size_t>(i));
  for (int axis : axes) {
    const int positive = axis < 0 ? axis + shape.rank() : axis;
    if (positive < 0 || positive >= shape.rank())
      throw_shape(op, "axis " + std::to_string(axis) + " is not in " + shape.str());
    if (mask[static_cast<size_t>(positive)]) throw_shape(op, "axis " + std::to_string(axis) + " is given twice");
    mask.set(static_cast<size_t>(positive));
  }
  return mask;
}

Shape reduced_shape(const Shape& shape, AxisMask mask, bool keepdim) {
  Shape result = shape;
  for (int i = shape.rank() - 1; i >= 0; --i)
    if (mask[static_cast<size_t>(i)]) result = keepdim ? result.with(i, 1) : result.without(i);
  return result;
}

int64_t reduced_count(const Shape& shape, AxisMask mask) {
  int64_t count = 1;
  for (int i = 0; i < shape.rank(); ++i)
    if (mask[static_cast<size_t>(i)]) count *= shape[i];
  return count;
}

}  // namespace tern
