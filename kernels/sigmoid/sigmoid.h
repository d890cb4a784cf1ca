#pragma once
#include "core/tensor.h"

namespace tern {

/// y = 1 / (1 + e^-x), without overflow.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor sigmoid(const Tensor& x);

/// dx = dy y (1 - y), y = sigmoid(x).
Tensor sigmoid_backward(const Tensor& dy, const Tensor& y);

}  // namespace tern
