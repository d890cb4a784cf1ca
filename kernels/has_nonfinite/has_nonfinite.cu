#include "kernels/common/reduce.cuh"

namespace tern::cuda {
namespace {

/// 1 where a number minus itself is not 0.
struct NonfinitePolicy {
  __device__ int identity() const { return 0; }
  template <class C>
  __device__ int map(C x, int64_t) const {
    return x - x == C{0} ? 0 : 1;
  }
  __device__ int combine(int a, int b) const { return a | b; }
  __device__ int finish(int found) const { return found; }
};

}  // namespace

void has_nonfinite(Launch& launch) {
  const Tensor& x = launch.in[0];
  const LaneReduction plan(x.shape(), AxisMask().set(), 0);
  dispatch_floating("has_nonfinite", x.dtype(), [&](auto t) {
    using T = decltype(t);
    reduce<int>(launch.context, "has_nonfinite", plan, NonfinitePolicy{}, x.data<T>(), launch.out[0].data<float>(),
                launch.workspace);
  });
}

}  // namespace tern::cuda
