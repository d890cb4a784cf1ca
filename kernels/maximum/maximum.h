#pragma once
#include "core/tensor.h"

namespace tern {

/// y = the larger of a and b, element by element, with NumPy's broadcasting; NaN where either is NaN. Any dtype.
/// The gradient goes to the larger one, halved where they are equal (as PyTorch's). Throws as add.
Tensor maximum(const Tensor& a, const Tensor& b);

}  // namespace tern
