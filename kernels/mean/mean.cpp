#include "kernels/mean/mean.h"

#include "kernels/common/sum_axes.h"

namespace tern {

// The op itself is kernels/sum's, with a division at the end.
Tensor mean(const Tensor& x, const Reduction& options) {
  const AxisMask mask = axis_mask("mean", x.shape(), options.axes);
  return sum_axes(x, mask, reduced_shape(x.shape(), mask, options.keepdim), {.mean = true});
}

}  // namespace tern
