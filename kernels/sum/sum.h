#pragma once
#include "core/tensor.h"
#include "kernels/common/reduction_axes.h"

namespace tern {

/// y = the sum of x over `axes` (none given: all).
///   x [...]  ->  y: x's shape without the axes, or with extent 1 there (keepdim); dtype of x, integers: i64
/// Sums in f32 (f64 for f64), pairwise in one fixed order (kernels/common/reduce.h). Axis 0 is an axis like the others
/// here, lanes or not; see sum_to. Throws ShapeError for axes out of range or given twice, or an empty x.
Tensor sum(const Tensor& x, const Reduction& options = {});

}  // namespace tern
