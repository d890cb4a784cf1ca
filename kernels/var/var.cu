#include "kernels/common/reduce.cuh"
#include "kernels/common/scratch.h"
#include "kernels/var/var_policy.h"

namespace tern::cuda {

/// The means into the workspace, then the squared distances from them.
void var(Launch& launch, AxisMask mask, double count, double divisor) {
  const Tensor& x = launch.in[0];
  const LaneReduction plan(x.shape(), mask, 0);
  dispatch_floating("var", x.dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Compute<T>;
    A* means = Scratch(launch.workspace).take<A>(plan.outputs);
    const auto partials = launch.workspace.subspan(scratch_bytes<A>(plan.outputs));
    reduce<A>(launch.context, "var", plan, SumPolicy<A>{static_cast<A>(count)}, x.data<T>(), means, partials);
    const VarPolicy<A> policy{means, static_cast<A>(divisor)};
    reduce<A>(launch.context, "var", plan, policy, x.data<T>(), launch.out[0].data<T>(), partials);
  });
}

}  // namespace tern::cuda
