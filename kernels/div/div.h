#pragma once
#include "core/tensor.h"

namespace tern {

/// y = a / b, with NumPy's broadcasting; floating dtypes, both the same. By zero: infinity or NaN, as IEEE.
/// Throws ShapeError when the shapes do not broadcast or are empty, DTypeError for integers or unequal dtypes.
Tensor div(const Tensor& a, const Tensor& b);
/// y = x / number.
Tensor div(const Tensor& x, double number);
/// y = number / x.
Tensor div(double number, const Tensor& x);

}  // namespace tern
