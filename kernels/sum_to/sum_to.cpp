#include "kernels/sum_to/sum_to.h"

#include "core/op.h"
#include "kernels/common/sum_axes.h"

namespace tern {

Tensor sum_to(const Tensor& x, const Shape& shape, int64_t lane_size) {
  if (x.shape() == shape) return x;
  const int missing = x.rank() - shape.rank();
  AxisMask mask;
  for (int i = 0; i < x.rank(); ++i) {
    const int64_t wanted = i < missing ? 1 : shape[i - missing];
    if (wanted == 1)
      mask.set(static_cast<size_t>(i));
    else if (missing < 0 || wanted != x.size(i))
      throw_shape("sum_to", x.shape().str() + " does not sum to " + shape.str());
  }
  if (missing < 0) throw_shape("sum_to", x.shape().str() + " does not sum to " + shape.str());
  return sum_axes(x, mask, shape, {.lane_size = lane_size});
}

}  // namespace tern
