#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x / (1 + e^-x).
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
/// Ref: Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, 2017.
Tensor silu(const Tensor& x);

/// dx = dy times the derivative at x; shapes equal.
Tensor silu_backward(const Tensor& dy, const Tensor& x);

}  // namespace tern
