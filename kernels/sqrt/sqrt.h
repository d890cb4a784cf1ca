#pragma once
#include "core/tensor.h"

namespace tern {

/// y = square root of x; of negative numbers NaN.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor sqrt(const Tensor& x);

}  // namespace tern
