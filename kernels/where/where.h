#pragma once
#include "core/tensor.h"

namespace tern {

/// y = a where condition is not 0, else b; the three broadcast together as NumPy does.
///   condition u8  a, b of one dtype (any)  ->  y of their dtype
/// Throws ShapeError when the shapes do not broadcast or are empty, DTypeError for other dtypes.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

}  // namespace tern
