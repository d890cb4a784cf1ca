#include "kernels/common/extreme_policy.h"
#include "kernels/common/reduce.cuh"

namespace tern::cuda {

void reduce_min(Launch& launch, AxisMask mask) {
  const Tensor& x = launch.in[0];
  const LaneReduction plan(x.shape(), mask, 0);
  dispatch_all(x.dtype(), [&](auto t) {
    using T = decltype(t);
    reduce<Compute<T>>(launch.context, "min", plan, ExtremePolicy<Compute<T>, false>{}, x.data<T>(),
                       launch.out[0].data<T>(), launch.workspace);
  });
}

}  // namespace tern::cuda
