#pragma once
#include "core/tensor.h"

namespace tern {

/// y = ln(x): of 0 -infinity, of negative numbers NaN.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor log(const Tensor& x);

}  // namespace tern
