#include "bench/gpu_timer.h"
#include "core/launch.cuh"

namespace tern::bench {
namespace {

using Chunk = cuda::Pack<float, 4>;
constexpr int kUnroll = 4;  // loads in flight a thread

/// A block copies kUnroll * blockDim.x chunks of 16 bytes at a time, each thread every blockDim.x-th of them.
__global__ void copy_kernel(Chunk* to, const Chunk* from, int64_t count) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x * kUnroll;
  for (int64_t base = int64_t{blockIdx.x} * blockDim.x * kUnroll + threadIdx.x; base < count; base += stride) {
    Chunk chunks[kUnroll];
#pragma unroll
    for (int k = 0; k < kUnroll; ++k)
      if (base + int64_t{k} * blockDim.x < count) chunks[k] = from[base + int64_t{k} * blockDim.x];
#pragma unroll
    for (int k = 0; k < kUnroll; ++k)
      if (base + int64_t{k} * blockDim.x < count) to[base + int64_t{k} * blockDim.x] = chunks[k];
  }
}

}  // namespace

void queue_copy(Context& context, void* to, const void* from, size_t bytes) {
  const auto count = static_cast<int64_t>(bytes / sizeof(Chunk));
  const int64_t blocks = cuda::ceil_div(count, int64_t{cuda::kThreads} * kUnroll);
  cuda::launch(context, "copy", copy_kernel, blocks, cuda::kThreads, static_cast<Chunk*>(to),
               static_cast<const Chunk*>(from), count);
}

}  // namespace tern::bench
