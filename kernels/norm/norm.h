#pragma once
#include "core/tensor.h"
#include "kernels/common/reduction_axes.h"

namespace tern {

/// y = sqrt(sum of x^2) over `axes` (none given: all): the L2 norm. Squares are summed as kernels/sum sums, in f32 (f64
/// for f64), unscaled: they overflow for |x| above 1e19 in f32. The gradient is x/y dy, 0 where y = 0.
/// Shapes and errors as for sum; floating dtypes only.
Tensor norm(const Tensor& x, const Reduction& options = {});

}  // namespace tern
