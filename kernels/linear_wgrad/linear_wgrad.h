#pragma once
#include <optional>

#include "core/tensor.h"

namespace tern {

struct LinearWgrad {
  std::optional<int64_t> lane_size;  ///< pictures in a lane, 0: one lane; nothing: the context's
};

/// dw = dy^T x, summed over all rows: linear()'s gradient of w.
///   dy [N,..,out]  x [N,..,in]  ->  dw [out,in]; one floating dtype; accumulates in f32 (f64 for f64)
/// Rows of a lane (lane_size along N) are summed alone, in order; lanes are added in the canonical tree (core/lanes.h).
/// Throws ShapeError when dy and x have different leading axes.
Tensor linear_wgrad(const Tensor& dy, const Tensor& x, LinearWgrad options = {});

}  // namespace tern
