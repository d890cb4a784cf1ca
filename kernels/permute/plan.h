#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "core/shape.h"

namespace tern {

/// A permutation with neighbours that stay neighbours made one axis and extents of 1 left out: NHWC -> NCHW becomes
/// [N, HW, C] -> [N, C, HW].
struct PermutePlan {
  int rank = 0;
  std::array<int64_t, Shape::kMaxRank> extents{};  ///< of y
  std::array<int64_t, Shape::kMaxRank> strides{};  ///< of x, in elements, for each axis of y
};

/// y's axis i is x's axis axes[i].
inline PermutePlan plan_permute(const Shape& x, std::span<const int> axes) {
  std::array<int64_t, Shape::kMaxRank> strides{};
  int64_t stride = 1;
  for (int axis = x.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = stride;
    stride *= x[axis];
  }
  PermutePlan plan;
  for (int axis : axes) {
    const int64_t extent = x[axis], step = strides[static_cast<size_t>(axis)];
    if (extent == 1) continue;
    const size_t last = static_cast<size_t>(plan.rank - 1);
    if (plan.rank > 0 && plan.strides[last] == step * extent) {
      plan.extents[last] *= extent;
      plan.strides[last] = step;
    } else {
      plan.extents[last + 1] = extent;
      plan.strides[last + 1] = step;
      ++plan.rank;
    }
  }
  return plan;
}

}  // namespace tern
