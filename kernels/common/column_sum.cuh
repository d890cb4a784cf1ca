#pragma once
#include "core/launch.cuh"
#include "kernels/common/column_threads.h"

/// Sums down the columns of a row-major matrix. A block's threads lie `columns` side by side, each at a pack of
/// neighbouring columns, and kThreads / columns one below the other: a warp reads whole sectors.
namespace tern::cuda {

inline constexpr int kWarps = kThreads / 32;

static_assert(kThreads == kColumnThreads);

/// Adds value[] over the threads of each column in a fixed order; `emit(column, k, total)` gets each sum, in f64, once.
/// Every thread of the block of kThreads must call it; those without rows bring zeros. Ends with a barrier.
template <int kValues, class Acc, class Emit>
__device__ inline void column_sum(int columns, Acc (&value)[kValues], const Emit& emit) {
  __shared__ Acc sums[kWarps][32 * kValues];
  for (int offset = columns; offset < 32; offset *= 2) {
#pragma unroll
    for (int k = 0; k < kValues; ++k) value[k] += __shfl_xor_sync(kFullWarp, value[k], offset);
  }
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  if (lane < columns) {
#pragma unroll
    for (int k = 0; k < kValues; ++k) sums[warp][lane * kValues + k] = value[k];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < columns * kValues; i += kThreads) {
    double total = 0;
    for (int w = 0; w < kWarps; ++w) total += static_cast<double>(sums[w][i]);
    emit(i / kValues, i % kValues, total);
  }
  __syncthreads();
}

}  // namespace tern::cuda
