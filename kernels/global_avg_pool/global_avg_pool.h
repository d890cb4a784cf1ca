#pragma once
#include "core/tensor.h"

namespace tern {

/// The mean over each picture's pixels: x [N,H,W,C] -> [N,C] of x's dtype; accumulates in f64 over short f32 sums.
Tensor global_avg_pool(const Tensor& x);

}  // namespace tern
