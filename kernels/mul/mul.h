#pragma once
#include "core/tensor.h"

namespace tern {

/// y = a * b, element by element; contract as for add.
Tensor mul(const Tensor& a, const Tensor& b);
/// y = x * number, the number rounded to x's dtype (f32 for 16-bit floats).
Tensor mul(const Tensor& x, double number);

}  // namespace tern
