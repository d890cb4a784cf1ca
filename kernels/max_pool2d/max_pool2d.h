#pragma once
#include "core/tensor.h"

namespace tern {

struct MaxPool2d {
  int64_t kernel = 2;
  int64_t stride = 0;   ///< 0: the kernel
  int64_t padding = 0;  ///< at most half of the kernel; padding never wins
};

/// The largest element of each window; of equal ones the first gets the gradient; NaN wins, as in PyTorch.
///   x [N,H,W,C] -> [N, (H + 2 padding - kernel) / stride + 1, likewise, C] of x's dtype
/// Throws ConfigError for options out of range, ShapeError when x is smaller than a window, DTypeError for integers.
Tensor max_pool2d(const Tensor& x, MaxPool2d options = {});

}  // namespace tern
