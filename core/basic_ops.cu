#include <bit>

#include "core/basic_ops.h"
#include "core/launch.cuh"

namespace tern::cuda {
namespace {

constexpr int kRuns = 2;  // 16-byte accesses to each tensor that a thread has under way

// The sum of two 16-bit floats in f32 rounds to what their own addition gives.
template <class T>
__device__ inline T plus(T a, T b) {
  return narrow<T>(static_cast<Compute<T>>(widen(a) + widen(b)));
}

/// A thread sets N elements at a time; the last few go one by one.
template <class T, int N>
__global__ void fill_kernel(T* out, T value, int64_t count) {
  const int64_t first = first_index(), step = grid_step();
  Pack<T, N> values;
#pragma unroll
  for (int j = 0; j < N; ++j) values.v[j] = value;
  for (int64_t i = first; i < count / N; i += step) store_pack(out + i * N, values);
  for (int64_t i = count / N * N + first; i < count; i += step) out[i] = value;
}

/// A thread adds kRuns times N elements at a time, a block's width apart; the last few go one by one. out may be a.
template <class T, int N>
__global__ void accumulate_kernel(const T* a, const T* b, T* out, int64_t count) {
  const int64_t runs = count / N, step = grid_step();
  for (int64_t first = int64_t{blockIdx.x} * blockDim.x * kRuns + threadIdx.x; first < runs; first += step * kRuns) {
    Pack<T, N> x[kRuns], y[kRuns];
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (const int64_t i = first + int64_t{r} * blockDim.x; i < runs) {
        x[r] = load_pack<T, N>(a + i * N);
        y[r] = load_pack<T, N>(b + i * N);
      }
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (const int64_t i = first + int64_t{r} * blockDim.x; i < runs) {
#pragma unroll
        for (int j = 0; j < N; ++j) x[r].v[j] = plus(x[r].v[j], y[r].v[j]);
        store_pack(out + i * N, x[r]);
      }
  }
  for (int64_t i = runs * N + first_index(); i < count; i += step) out[i] = plus(a[i], b[i]);
}

}  // namespace

void fill(Launch& l, double value) {
  const Tensor& out = l.out[0];
  if (std::bit_cast<uint64_t>(value) == 0) return l.context.runtime().fill(out.raw(), 0, out.bytes());
  dispatch_all(out.dtype(), [&](auto t) {
    using T = decltype(t);
    constexpr int N = kPackWidth<T>;
    T* to = out.data<T>();
    const bool packed = aligned16(to);
    launch(l.context, "fill", packed ? &fill_kernel<T, N> : &fill_kernel<T, 1>,
           blocks_for(l.context, out.numel() / (packed ? N : 1)), kThreads, to,
           store_element<T>(static_cast<Compute<T>>(value)), out.numel());
  });
}

void copy_into(Launch& l) { l.context.runtime().copy(l.out[0].raw(), l.in[1].raw(), l.out[0].bytes()); }

void accumulate(Launch& l) {
  dispatch_all(l.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    constexpr int N = kPackWidth<T>;
    const T* a = l.in[0].data<T>();
    const T* b = l.in[1].data<T>();
    T* out = l.out[0].data<T>();
    const int64_t count = l.out[0].numel();
    const bool packed = aligned16(a, b, out);
    launch(l.context, "accumulate", packed ? &accumulate_kernel<T, N> : &accumulate_kernel<T, 1>,
           blocks_for(l.context, ceil_div(count / (packed ? N : 1), kRuns)), kThreads, a, b, out, count);
  });
}

}  // namespace tern::cuda
