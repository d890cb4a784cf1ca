#pragma once
#include "core/tensor.h"

namespace tern {

/// y = hyperbolic tangent of x.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor tanh(const Tensor& x);

/// dx = dy (1 - y^2), y = tanh(x).
Tensor tanh_backward(const Tensor& dy, const Tensor& y);

}  // namespace tern
