#include "core/launch.cuh"
#include "kernels/augment_images/augment_ops.h"

namespace tern {
namespace {

struct Steps {
  AugmentStep v[AugmentImages::kMaxSteps];
  int32_t count;
};

struct Pictures {
  int32_t height, width, channels;
};

/// A block makes one picture: it draws once, then its threads take pixels in turn.
__global__ void augment_kernel(const uint8_t* __restrict__ pictures, const int64_t* __restrict__ samples,
                               const int64_t* __restrict__ key, uint8_t* __restrict__ out, Steps steps, Pictures p) {
  __shared__ AugmentDraw draws[AugmentImages::kMaxSteps];
  const int64_t sample = samples[blockIdx.x];
  const int32_t mine = static_cast<int32_t>(threadIdx.x);
  if (mine < steps.count) {
    const RngKey picture{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1]), static_cast<uint64_t>(sample),
                         0};
    draws[mine] = draw_augment(steps.v[mine], static_cast<uint32_t>(mine), picture, p.height, p.width);
  }
  __syncthreads();
  const uint8_t zeros[3] = {0, 0, 0};
  const int32_t pixels = p.height * p.width;
  const uint8_t* from = pictures + sample * pixels * p.channels;
  uint8_t* to = out + int64_t{blockIdx.x} * pixels * p.channels;
  for (int32_t i = mine; i < pixels; i += static_cast<int32_t>(blockDim.x)) {
    const PixelSource source =
        trace_pixel(steps.v, draws, steps.count, p.height, p.width, i / p.width, i % p.width, zeros);
    for (int32_t c = 0; c < p.channels; ++c) {
      uint8_t value = 0;
      if (source.fill == nullptr)
        value = from[(source.y * p.width + source.x) * p.channels + c];
      else if (source.fill != zeros)
        value = source.fill[c];
      to[i * p.channels + c] = value;
    }
  }
}

}  // namespace

void AugmentImagesOp::run_cuda(Launch& launch) const {
  const Shape& shape = launch.in[0].shape();
  Steps steps{};
  steps.count = static_cast<int32_t>(options_.steps.size());
  for (size_t i = 0; i < options_.steps.size(); ++i) steps.v[i] = options_.steps[i];
  const Pictures pictures{static_cast<int32_t>(shape[1]), static_cast<int32_t>(shape[2]),
                          static_cast<int32_t>(shape[3])};
  cuda::launch(launch.context, name(), augment_kernel, launch.in[1].numel(), cuda::kThreads,
               launch.in[0].data<uint8_t>(), launch.in[1].data<int64_t>(), launch.in[2].data<int64_t>(),
               launch.out[0].data<uint8_t>(), steps, pictures);
}

}  // namespace tern
