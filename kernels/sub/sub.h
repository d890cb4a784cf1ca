#pragma once
#include "core/tensor.h"

namespace tern {

/// y = a - b; contract as for add.
Tensor sub(const Tensor& a, const Tensor& b);
/// y = x - number.
Tensor sub(const Tensor& x, double number);
/// y = number - x.
Tensor sub(double number, const Tensor& x);

}  // namespace tern
