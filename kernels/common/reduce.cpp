#include "kernels/common/reduce.h"

#include <bit>

namespace tern {
namespace {

/// The rows of lane i as a tensor of their own.
Shape lane_shape(const Shape& shape, int64_t rows) { return shape.rank() == 0 ? shape : shape.with(0, rows); }

Lanes lanes_of(const Shape& shape, AxisMask mask, int64_t lane_size) {
  const int64_t rows = shape.rank() == 0 ? 1 : shape[0];
  const bool cut = lane_size > 0 && mask[0] && rows > lane_size;
  return {.rows = rows, .size = cut ? lane_size : 0};
}

}  // namespace

ReduceLoop::ReduceLoop(const Shape& shape, AxisMask mask) {
  struct Axis {
    int64_t extent, stride;
    bool reduced;
  };
  std::array<Axis, Shape::kMaxRank> axes{};
  size_t count = 0;
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const int64_t extent = shape[i];
    if (extent == 1) continue;
    const bool is_reduced = mask[static_cast<size_t>(i)];
    if (count > 0 && axes[count - 1].reduced == is_reduced)
      axes[count - 1].extent *= extent;
    else
      axes[count++] = {extent, stride, is_reduced};
    stride *= extent;
  }
  if (count == 0) return;
  inner = axes[0].extent;
  inner_reduced = axes[0].reduced;
  for (size_t i = 1; i < count; ++i) {
    Axes& to = axes[i].reduced ? reduced : kept;
    to.extents[static_cast<size_t>(to.rank)] = axes[i].extent;
    to.strides[static_cast<size_t>(to.rank)] = axes[i].stride;
    ++to.rank;
    (axes[i].reduced ? rows : outputs) *= axes[i].extent;
  }
}

int64_t ReduceLoop::leaves_per_task() const {
  const int64_t leaf = inner_reduced ? std::min(inner, kLeafElements) : kLeafRows * std::min(inner, kReduceStrip);
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(1, kReduceTask / leaf))));
}

LaneReduction::LaneReduction(const Shape& shape, AxisMask mask, int64_t lane_size)
    : lanes(lanes_of(shape, mask, lane_size)),
      whole(lane_shape(shape, lanes.end(0)), mask),
      last(lane_shape(shape, lanes.rows - (lanes.count() - 1) * lanes.size), mask),
      lane_elements(lane_shape(shape, lanes.end(0)).numel()),
      outputs(last.outputs * last.width()) {}

}  // namespace tern
