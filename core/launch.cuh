#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <string_view>

#include "core/element.cuh"
#include "core/op.h"
#include "core/runtime_cuda.h"

/// How CUDA kernels of tern are written and started. They use only what tests/cuda_emulation also has, so that each of
/// them runs in the tests of a machine without a GPU: static shared memory, no `<<<>>>`, no lambdas on the device.
namespace tern::cuda {

inline constexpr int kThreads = 256;  ///< threads of a block, where nothing speaks for another number
inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr int64_t kMaxBlocks = 1 << 30;

/// Starts `kernel` on the stream of the launch's context. Throws DeviceError naming the op when it cannot start.
template <class... Parameters, class... Arguments>
void launch(Context& context, std::string_view op, void (*kernel)(Parameters...), int64_t blocks, int threads,
            const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = cuda_runtime(context).stream();
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), op);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Blocks for a grid-stride loop over `count` items of one thread each: enough to fill the GPU, no more than needed.
inline int64_t blocks_for(Context& context, int64_t count, int threads = kThreads) {
  const int64_t enough = int64_t{cuda_runtime(context).multiprocessors()} * (2048 / threads) * 4;
  const int64_t needed = ceil_div(count, threads);
  return needed < 1 ? 1 : (needed < enough ? needed : enough);
}

/// The first index of this thread in a grid-stride loop, and the step: for (i = first_index(); i < n; i +=
/// grid_step()).
__device__ inline int64_t first_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t grid_step() { return int64_t{gridDim.x} * blockDim.x; }

}  // namespace tern::cuda
