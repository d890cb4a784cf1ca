#include "kernels/common/flat_update.cuh"
#include "kernels/sgd/sgd.h"

namespace tern::cuda {
namespace {

struct SgdFactors {
  float grad_scale, weight_decay, momentum, minus_lr;
  bool nesterov;
};

/// The arithmetic of sgd.cpp, rounding by rounding. `buffer` null: no momentum.
__device__ inline void sgd_element(float& p, float* buffer, float grad, const SgdFactors& f) {
  const float g = fmaf(f.weight_decay, p, __fmul_rn(grad, f.grad_scale));
  float direction = g;
  if (buffer != nullptr) {
    const float b = without_denormal(__fadd_rn(__fmul_rn(*buffer, f.momentum), g));
    *buffer = b;
    direction = f.nesterov ? fmaf(f.momentum, b, g) : b;
  }
  p = fmaf(f.minus_lr, direction, p);
}

template <class W>
struct SgdBody {
  float *master, *buffer;
  const float* grads;
  W* weights;  ///< null: no 16-bit copy
  SgdFactors factors;

  __device__ void pack(int64_t at) const {
    auto p4 = load_pack<float, kFlatWidth>(master + at);
    const auto g4 = load_pack<float, kFlatWidth>(grads + at);
    Pack<float, kFlatWidth> b4 = {};
    if (buffer != nullptr) b4 = load_pack<float, kFlatWidth>(buffer + at);
    Pack<W, kFlatWidth> w4;
#pragma unroll
    for (int i = 0; i < kFlatWidth; ++i) {
      sgd_element(p4.v[i], buffer != nullptr ? &b4.v[i] : nullptr, g4.v[i], factors);
      w4.v[i] = narrow<W>(p4.v[i]);
    }
    store_pack(master + at, p4);
    if (buffer != nullptr) store_pack(buffer + at, b4);
    if (weights != nullptr) store_pack(weights + at, w4);
  }
  __device__ void element(int64_t at) const {
    sgd_element(master[at], buffer != nullptr ? buffer + at : nullptr, grads[at], factors);
    if (weights != nullptr) weights[at] = narrow<W>(master[at]);
  }
};

/// A block updates kFlatBlock neighbouring elements of one segment.
template <class W>
__global__ void __launch_bounds__(kThreads)
    sgd_kernel(FlatSegments segments, bool aligned, float momentum, bool nesterov, float* master, float* buffer,
               const float* grads, W* weights, const double* lr, const float* grad_scale, const float* found_inf) {
  if (*found_inf != 0) return;
  const FlatSegment& segment = segments.segment[flat_segment_of_block(segments)];
  const SgdFactors factors{*grad_scale, static_cast<float>(segment.weight_decay), momentum,
                           static_cast<float>(-lr[segment.group]), nesterov};
  for_flat_elements(segment, aligned, SgdBody<W>{master, buffer, grads, weights, factors});
}

template <class W>
void update(Launch& l, const Sgd& options, W* weights) {
  float* master = l.out[0].data<float>();
  float* buffer = options.momentum != 0 ? l.out[1].data<float>() : nullptr;
  const float* grads = l.in[1].data<float>();
  const bool aligned = aligned16(master, buffer, grads, weights);
  for_flat_segments(options.segments, [&](const FlatSegments& segments) {
    if (segments.blocks > 0)
      launch(l.context, "sgd", sgd_kernel<W>, segments.blocks, kThreads, segments, aligned,
             static_cast<float>(options.momentum), options.nesterov, master, buffer, grads, weights,
             l.in[2].data<double>(), l.in[3].data<float>(), l.in[4].data<float>());
  });
}

}  // namespace

void sgd(Launch& l, const Sgd& options) {
  const bool has_weights = l.in.size() == (options.momentum != 0 ? 7u : 6u);
  if (!has_weights) return update<Half>(l, options, nullptr);
  if (l.in.back().dtype() == DType::f16) return update(l, options, l.out.back().data<Half>());
  update(l, options, l.out.back().data<BFloat16>());
}

}  // namespace tern::cuda
