#pragma once
#include "core/tensor.h"

namespace tern {

/// y = exp(x) / sum of exp(x) along `axis`; x of any rank from 1, y as x. Computes in f64 (on a GPU f32, f64 for f64).
/// Twice differentiable.
Tensor softmax(const Tensor& x, int axis = -1);

}  // namespace tern
