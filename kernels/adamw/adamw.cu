#include "kernels/adamw/adamw.h"
#include "kernels/adamw/adamw_factors.h"
#include "kernels/common/flat_update.cuh"

namespace tern::cuda {
namespace {

struct AdamWSettings {
  double beta1, beta2, eps;
};

/// One block. Works out the factors of up to kFlatSegments segments; the launch for the first ones counts the step.
__global__ void adamw_prepare_kernel(FlatSegments segments, AdamWSettings settings, double* step, const double* lr,
                                     const float* grad_scale, const float* found_inf, AdamWFactors* factors) {
  if (*found_inf != 0) return;
  const double now = *step + (segments.first == 0 ? 1 : 0);
  __syncthreads();  // everybody has read the step
  if (threadIdx.x == 0) *step = now;
  for (int s = static_cast<int>(threadIdx.x); s < segments.count; s += static_cast<int>(blockDim.x)) {
    const FlatSegment& segment = segments.segment[s];
    factors[segments.first + s] = adamw_factors(settings.beta1, settings.beta2, settings.eps, segment.weight_decay,
                                                now, lr[segment.group], *grad_scale);
  }
}

/// The arithmetic of adamw.cpp, rounding by rounding: contraction would give other bits than the CPU's.
__device__ inline void adamw_element(float& p, float& m, float& v, float grad, const AdamWFactors& f) {
  const float g = __fmul_rn(grad, f.grad_scale);
  m = without_denormal(fmaf(f.one_minus_beta1, __fsub_rn(g, m), m));
  v = without_denormal(__fadd_rn(__fmul_rn(v, f.beta2), __fmul_rn(__fmul_rn(f.one_minus_beta2, g), g)));
  const float denominator = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), f.root_correction2), f.eps);
  p = __fadd_rn(__fmul_rn(p, f.keep), __fdiv_rn(__fmul_rn(f.minus_step_size, m), denominator));
}

template <class W>
struct AdamWBody {
  float *master, *m, *v;
  const float* grads;
  W* weights;  ///< null: no 16-bit copy
  AdamWFactors factors;

  __device__ void pack(int64_t at) const {
    auto p4 = load_pack<float, kFlatWidth>(master + at), m4 = load_pack<float, kFlatWidth>(m + at);
    auto v4 = load_pack<float, kFlatWidth>(v + at);
    const auto g4 = load_pack<float, kFlatWidth>(grads + at);
    Pack<W, kFlatWidth> w4;
#pragma unroll
    for (int i = 0; i < kFlatWidth; ++i) {
      adamw_element(p4.v[i], m4.v[i], v4.v[i], g4.v[i], factors);
      w4.v[i] = narrow<W>(p4.v[i]);
    }
    store_pack(master + at, p4);
    store_pack(m + at, m4);
    store_pack(v + at, v4);
    if (weights != nullptr) store_pack(weights + at, w4);
  }
  __device__ void element(int64_t at) const {
    adamw_element(master[at], m[at], v[at], grads[at], factors);
    if (weights != nullptr) weights[at] = narrow<W>(master[at]);
  }
};

/// A block updates kFlatBlock neighbouring elements of one segment.
template <class W>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(FlatSegments segments, bool aligned, float* master, float* m, float* v, const float* grads, W* weights,
                 const AdamWFactors* factors, const float* found_inf) {
  if (*found_inf != 0) return;
  const int s = flat_segment_of_block(segments);
  const AdamWBody<W> body{master, m, v, grads, weights, factors[segments.first + s]};
  for_flat_elements(segments.segment[s], aligned, body);
}

template <class W>
void update(Launch& l, const AdamW& options, W* weights) {
  float *master = l.out[0].data<float>(), *m = l.out[1].data<float>(), *v = l.out[2].data<float>();
  const float *grads = l.in[4].data<float>(), *found_inf = l.in[7].data<float>();
  auto* factors = reinterpret_cast<AdamWFactors*>(l.workspace.data());
  const bool aligned = aligned16(master, m, v, grads, weights);
  for_flat_segments(options.segments, [&](const FlatSegments& segments) {
    launch(l.context, "adamw", adamw_prepare_kernel, 1, kFlatSegments, segments,
           AdamWSettings{options.beta1, options.beta2, options.eps}, l.out[3].data<double>(), l.in[5].data<double>(),
           l.in[6].data<float>(), found_inf, factors);
    if (segments.blocks > 0)
      launch(l.context, "adamw", adamw_kernel<W>, segments.blocks, kThreads, segments, aligned, master, m, v, grads,
             weights, factors, found_inf);
  });
}

}  // namespace

void adamw(Launch& l, const AdamW& options) {
  if (l.in.size() == 8) return update<Half>(l, options, nullptr);
  if (l.in[8].dtype() == DType::f16) return update(l, options, l.out[4].data<Half>());
  update(l, options, l.out[4].data<BFloat16>());
}

}  // namespace tern::cuda
