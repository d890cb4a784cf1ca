#pragma once
#include "core/tensor.h"

namespace tern {

/// y = a + b, with NumPy's broadcasting; all dtypes, both the same. 16-bit floats are added in f32.
/// Throws ShapeError when the shapes do not broadcast or are empty, DTypeError when the dtypes differ.
Tensor add(const Tensor& a, const Tensor& b);
/// y = x + number, the number rounded to x's dtype (f32 for 16-bit floats).
Tensor add(const Tensor& x, double number);

}  // namespace tern
