#pragma once
#include "core/tensor.h"

namespace tern {

/// y = the smaller of a and b, element by element, with NumPy's broadcasting; NaN where either is NaN. Any dtype.
/// The gradient goes to the smaller one, halved where they are equal (as PyTorch's). Throws as add.
Tensor minimum(const Tensor& a, const Tensor& b);

}  // namespace tern
