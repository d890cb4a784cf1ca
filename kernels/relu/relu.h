#pragma once
#include "core/tensor.h"

namespace tern {

/// y = max(x, 0); NaN stays NaN. Floating dtypes. Keeps y, not x, for the gradient.
/// Throws ShapeError when x is empty, DTypeError for integers.
Tensor relu(const Tensor& x);

/// dx = dy where y > 0 or y is NaN, else 0; y = relu(x). Same shapes, no broadcasting needed.
Tensor relu_backward(const Tensor& dy, const Tensor& y);

}  // namespace tern
