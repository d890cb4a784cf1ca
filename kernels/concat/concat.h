#pragma once
#include <span>

#include "core/tensor.h"

namespace tern {

/// y = the tensors one after another along `axis`. Any dtype, the same for all; other extents equal.
/// Throws ShapeError or DTypeError naming the tensor that does not fit.
Tensor concat(std::span<const Tensor> tensors, int axis);

}  // namespace tern
