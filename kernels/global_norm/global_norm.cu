#include <cmath>

#include "kernels/common/reduce.cuh"

namespace tern::cuda {
namespace {

/// Squares of f32 in f64, where they do not overflow.
struct SquaresPolicy {
  __device__ double identity() const { return 0; }
  __device__ double map(float x, int64_t) const { return static_cast<double>(x) * static_cast<double>(x); }
  __device__ double combine(double a, double b) const { return a + b; }
};

/// Both results of the sum, which is finite exactly when every element is.
struct WriteNorm {
  float* norm;
  float* found_inf;
  __device__ void operator()(int64_t, double sum) const {
    *norm = static_cast<float>(std::sqrt(sum));
    *found_inf = sum - sum == 0 ? 0.0f : 1.0f;
  }
};

}  // namespace

void global_norm(Launch& launch) {
  const Tensor& x = launch.in[0];
  const LaneReduction plan(x.shape(), AxisMask().set(), 0);
  const WriteNorm write{launch.out[0].data<float>(), launch.out[1].data<float>()};
  reduce_into<double>(launch.context, "global_norm", plan, SquaresPolicy{}, x.data<float>(), write, launch.workspace);
}

}  // namespace tern::cuda
