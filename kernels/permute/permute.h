#pragma once
#include <initializer_list>
#include <span>

#include "core/tensor.h"

namespace tern {

/// y's axis i is x's axis axes[i], as numpy.transpose: permute(x, {0, 3, 1, 2}) makes NCHW of NHWC. A copy. Any dtype.
/// Throws ShapeError unless axes names every axis once.
Tensor permute(const Tensor& x, std::span<const int> axes);
Tensor permute(const Tensor& x, std::initializer_list<int> axes);

}  // namespace tern
