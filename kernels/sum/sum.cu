#include "kernels/common/reduce.cuh"
#include "kernels/common/sum_axes.h"

namespace tern::cuda {

void sum_axes(Launch& launch, AxisMask mask, SumAxes options) {
  const Tensor& x = launch.in[0];
  const LaneReduction plan(x.shape(), mask, options.lane_size);
  dispatch_all(x.dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Accumulator<T>;
    using Out = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
    const SumPolicy<A> policy{options.mean ? static_cast<A>(reduced_count(x.shape(), mask)) : A{1}};
    reduce<A>(launch.context, "sum", plan, policy, x.data<T>(), launch.out[0].data<Out>(), launch.workspace);
  });
}

}  // namespace tern::cuda
