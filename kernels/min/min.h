#pragma once
#include "core/tensor.h"
#include "kernels/common/reduction_axes.h"

namespace tern {

/// y = the smallest element of x over `axes` (none given: all); NaN where there is a NaN. Any dtype.
/// Shapes and errors as for sum. The gradient is shared evenly by the elements that are equal to y, as PyTorch's amin.
/// For the smallest of two tensors see minimum.
Tensor min(const Tensor& x, const Reduction& options = {});

}  // namespace tern
