#pragma once
#include <bitset>
#include <string_view>
#include <vector>

#include "core/shape.h"

namespace tern {

/// Which axes a reduction sums away: `sum(x, {.axes = {0, 1}, .keepdim = true})`.
struct Reduction {
  std::vector<int> axes = {};  ///< negative ones count from the end; none: all axes
  bool keepdim = false;        ///< reduced axes stay, with extent 1
};

/// A bit for each reduced axis.
using AxisMask = std::bitset<Shape::kMaxRank>;

/// Throws ShapeError naming `op` for an axis that is out of range or given twice. No axes: all.
AxisMask axis_mask(std::string_view op, const Shape& shape, const std::vector<int>& axes);

/// `shape` with the masked axes of extent 1, or without them.
Shape reduced_shape(const Shape& shape, AxisMask mask, bool keepdim);

/// Elements of `shape` that make one output.
int64_t reduced_count(const Shape& shape, AxisMask mask);

}  // namespace tern
