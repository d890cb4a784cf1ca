#pragma once
#include "core/launch.cuh"

/// Reductions within a warp and a block in a fixed order: the same bits in every run.
namespace tern::cuda {

struct Plus {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};

/// __shfl_xor for values of any size up to 8 bytes.
template <class A>
__device__ inline A shuffle_xor(A value, int offset) {
  if constexpr (sizeof(A) < 4)
    return static_cast<A>(__shfl_xor_sync(kFullWarp, static_cast<int>(value), offset));
  else
    return __shfl_xor_sync(kFullWarp, value, offset);
}

/// combine() over the 32 lanes of the warp; every lane gets the result. A is a number, combine commutative.
template <class A, class Combine>
__device__ inline A warp_reduce(A value, const Combine& combine) {
  for (int offset = 16; offset > 0; offset /= 2) value = combine(value, shuffle_xor(value, offset));
  return value;
}

/// combine() over all threads of a block of kBlock threads (a multiple of 32, at most 1024); every thread gets the
/// result. Ends with a barrier, so that it may be called again at once.
template <int kBlock, class A, class Combine>
__device__ inline A block_reduce(A value, A identity, const Combine& combine) {
  constexpr int kWarps = kBlock / 32;
  __shared__ A warps[kWarps];
  value = warp_reduce(value, combine);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  A total = warp_reduce(threadIdx.x % 32 < kWarps ? warps[threadIdx.x % 32] : identity, combine);
  __syncthreads();
  return total;
}

}  // namespace tern::cuda
