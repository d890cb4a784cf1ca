#pragma once
#include "core/tensor.h"
#include "kernels/common/reduction_axes.h"

namespace tern {

/// How sum_axes() sums: the machinery behind sum, mean and sum_to.
struct SumAxes {
  bool mean = false;      ///< divide by the number of summed elements
  int64_t lane_size = 0;  ///< of axis 0, as in sum_to; 0: an ordinary axis
};

/// The sum over the masked axes, in the shape `out` (which has as many elements as what is left).
Tensor sum_axes(const Tensor& x, AxisMask mask, const Shape& out, SumAxes options = {});

}  // namespace tern
