#pragma once
#include "core/tensor.h"
#include "kernels/common/reduction_axes.h"

namespace tern {

/// y = sum(x) / (number of summed elements), over `axes` (none given: all). The sum is divided once, in the
/// accumulator's precision. Shapes and errors as for sum; floating dtypes only (DTypeError).
Tensor mean(const Tensor& x, const Reduction& options = {});

}  // namespace tern
