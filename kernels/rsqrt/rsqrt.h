#pragma once
#include "core/tensor.h"

namespace tern {

/// y = 1 / sqrt(x), with two roundings; of 0 infinity.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor rsqrt(const Tensor& x);

}  // namespace tern
