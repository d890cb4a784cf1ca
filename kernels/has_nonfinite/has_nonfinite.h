#pragma once
#include "core/tensor.h"

namespace tern {

/// 1 when x has an infinity or a NaN, else 0. Not differentiable.
///   x [...] floating  ->  f32 [1]
/// Throws DTypeError for integers, ShapeError when x is empty.
Tensor has_nonfinite(const Tensor& x);

}  // namespace tern
