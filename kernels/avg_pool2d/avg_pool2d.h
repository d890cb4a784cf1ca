#pragma once
#include "core/tensor.h"

namespace tern {

struct AvgPool2d {
  int64_t kernel = 2;
  int64_t stride = 0;             ///< 0: the kernel
  int64_t padding = 0;            ///< zeros, at most half of the kernel
  bool count_include_pad = true;  ///< divide by kernel^2 at the border too, as PyTorch does
};

/// The mean of each window.
///   x [N,H,W,C] -> [N, (H + 2 padding - kernel) / stride + 1, likewise, C] of x's dtype
/// Throws ConfigError for options out of range, ShapeError when x is smaller than a window, DTypeError for integers.
Tensor avg_pool2d(const Tensor& x, AvgPool2d options = {});

}  // namespace tern
