#pragma once
#include "core/tensor.h"

namespace tern {

/// y = |x|; the gradient at 0 is 0.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor abs(const Tensor& x);

}  // namespace tern
