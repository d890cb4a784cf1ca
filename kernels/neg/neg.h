#pragma once
#include "core/tensor.h"

namespace tern {

/// y = -x; floating dtypes. Throws ShapeError when x is empty, DTypeError for integers.
Tensor neg(const Tensor& x);

}  // namespace tern
