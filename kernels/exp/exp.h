#pragma once
#include "core/tensor.h"

namespace tern {

/// y = e^x: above ln(max) infinity, far below 0.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor exp(const Tensor& x);

}  // namespace tern
