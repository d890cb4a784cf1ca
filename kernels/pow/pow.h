#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x to the power of `exponent`, as std::pow; floating dtypes. Throws ShapeError when x is empty.
Tensor pow(const Tensor& x, double exponent);
/// The same for two tensors, with NumPy's broadcasting. Where b = 0 the gradient by a is 0; where a = 0 and b >= 0 the
/// gradient by b is 0 (the limits, as PyTorch's).
Tensor pow(const Tensor& a, const Tensor& b);

}  // namespace tern
