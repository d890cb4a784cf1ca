#include "core/basic_ops.h"

#include <cuda_runtime.h>
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include <algorithm>
#include <bit>

#include "core/runtime_cuda.h"

namespace tern::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRuns = 2;  // 16-byte accesses to each tensor that a thread has under way

template <class T, int N>
struct alignas(sizeof(T) * N) Elements {
  T v[N];
};

template <class T>
__device__ inline T plus(T a, T b) {
  return static_cast<T>(a + b);
}
// The sum of two 16-bit floats in f32 rounds to what their own addition gives.
__device__ inline Half plus(Half a, Half b) {
#if defined(__CUDACC__)
  Half sum;
  sum.bits = __half_as_ushort(__float2half_rn(__half2float(__ushort_as_half(a.bits)) + __half2float(__ushort_as_half(b.bits))));
  return sum;
#else
  return Half(static_cast<float>(a) + static_cast<float>(b));
#endif
}
__device__ inline BFloat16 plus(BFloat16 a, BFloat16 b) {
#if defined(__CUDACC__)
  BFloat16 sum;
  sum.bits = __bfloat16_as_ushort(
      __float2bfloat16_rn(__bfloat162float(__ushort_as_bfloat16(a.bits)) + __bfloat162float(__ushort_as_bfloat16(b.bits))));
  return sum;
#else
  return BFloat16(static_cast<float>(a) + static_cast<float>(b));
#endif
}

/// A thread sets N elements at a time; the last few go one by one.
template <class T, int N>
__global__ void fill_kernel(T* out, T value, int64_t count) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, step = int64_t{gridDim.x} * blockDim.x;
  Elements<T, N> values;
#pragma unroll
  for (int j = 0; j < N; ++j) values.v[j] = value;
  for (int64_t i = first; i < count / N; i += step) reinterpret_cast<Elements<T, N>*>(out)[i] = values;
  for (int64_t i = count / N * N + first; i < count; i += step) out[i] = value;
}

/// A thread adds kRuns times N elements at a time, a block's width apart; the last few go one by one. out may be a.
template <class T, int N>
__global__ void accumulate_kernel(const T* a, const T* b, T* out, int64_t count) {
  using Run = Elements<T, N>;
  const int64_t runs = count / N, step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t first = int64_t{blockIdx.x} * blockDim.x * kRuns + threadIdx.x; first < runs; first += step * kRuns) {
    Run x[kRuns], y[kRuns];
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (const int64_t i = first + int64_t{r} * blockDim.x; i < runs) {
        x[r] = reinterpret_cast<const Run*>(a)[i];
        y[r] = reinterpret_cast<const Run*>(b)[i];
      }
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (const int64_t i = first + int64_t{r} * blockDim.x; i < runs) {
#pragma unroll
        for (int j = 0; j < N; ++j) x[r].v[j] = plus(x[r].v[j], y[r].v[j]);
        reinterpret_cast<Run*>(out)[i] = x[r];
      }
  }
  for (int64_t i = runs * N + int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) out[i] = plus(a[i], b[i]);
}

/// Starts `kernel` with threads for `items` runs, at most as many as fill the GPU a few times.
template <class... Parameters>
void start(Context& context, std::string_view op, void (*kernel)(Parameters...), int64_t items, Parameters... arguments) {
  const int64_t enough = int64_t{cuda_runtime(context).multiprocessors()} * (2048 / kThreads) * 4;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, enough)));
  config.blockDim = dim3(kThreads);
  config.stream = cuda_runtime(context).stream();
  check_cuda(cudaLaunchKernelEx(&config, kernel, arguments...), op);
}

template <class... P>
bool aligned(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

}  // namespace

void fill(Launch& launch, double value) {
  const Tensor& out = launch.out[0];
  if (std::bit_cast<uint64_t>(value) == 0) return launch.context.runtime().fill(out.raw(), 0, out.bytes());
  dispatch_all(out.dtype(), [&](auto t) {
    using T = decltype(t);
    T element;
    if constexpr (sizeof(T) == 2)
      element = T(static_cast<float>(value));
    else
      element = static_cast<T>(value);
    constexpr int N = 16 / static_cast<int>(sizeof(T));
    T* to = out.data<T>();
    const bool packed = aligned(to);
    start(launch.context, "fill", packed ? &fill_kernel<T, N> : &fill_kernel<T, 1>, out.numel() / (packed ? N : 1), to,
          element, out.numel());
  });
}

void copy_into(Launch& launch) {
  launch.context.runtime().copy(launch.out[0].raw(), launch.in[1].raw(), launch.out[0].bytes());
}

void accumulate(Launch& launch) {
  dispatch_all(launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    constexpr int N = 16 / static_cast<int>(sizeof(T));
    const T* a = launch.in[0].data<T>();
    const T* b = launch.in[1].data<T>();
    T* out = launch.out[0].data<T>();
    const int64_t count = launch.out[0].numel();
    const bool packed = aligned(a, b, out);
    start(launch.context, "accumulate", packed ? &accumulate_kernel<T, N> : &accumulate_kernel<T, 1>,
          (count / (packed ? N : 1) + kRuns - 1) / kRuns, a, b, out, count);
  });
}

}  // namespace tern::cuda
