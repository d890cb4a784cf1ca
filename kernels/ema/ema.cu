#include "core/launch.cuh"

namespace tern::cuda {
namespace {

/// A thread updates kWidth neighbouring elements a turn of a grid-stride loop.
template <int kWidth>
__global__ void ema_kernel(float* average, const float* x, const double* decay, int64_t packs) {
  const float keep = static_cast<float>(*decay), take = static_cast<float>(1 - *decay);
  for (int64_t i = first_index(); i < packs; i += grid_step()) {
    auto a = load_pack<float, kWidth>(average + i * kWidth);
    const auto b = load_pack<float, kWidth>(x + i * kWidth);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) a.v[k] = __fadd_rn(__fmul_rn(keep, a.v[k]), __fmul_rn(take, b.v[k]));
    store_pack(average + i * kWidth, a);
  }
}

}  // namespace

void ema(Launch& l) {
  float* average = l.out[0].data<float>();
  const float* x = l.in[1].data<float>();
  const double* decay = l.in[2].data<double>();
  const int64_t count = l.out[0].numel(), packs = aligned16(average, x) ? count / 4 : 0, rest = packs * 4;
  if (packs > 0)
    launch(l.context, "ema", ema_kernel<4>, blocks_for(l.context, packs), kThreads, average, x, decay, packs);
  if (rest < count)
    launch(l.context, "ema", ema_kernel<1>, blocks_for(l.context, count - rest), kThreads, average + rest, x + rest,
           decay, count - rest);
}

}  // namespace tern::cuda
