#include "kernels/common/reduce.cuh"
#include "kernels/norm/norm_policy.h"

namespace tern::cuda {

void norm(Launch& launch, AxisMask mask) {
  const Tensor& x = launch.in[0];
  const LaneReduction plan(x.shape(), mask, 0);
  dispatch_floating("norm", x.dtype(), [&](auto t) {
    using T = decltype(t);
    reduce<Compute<T>>(launch.context, "norm", plan, NormPolicy<Compute<T>>{}, x.data<T>(), launch.out[0].data<T>(),
                       launch.workspace);
  });
}

}  // namespace tern::cuda
