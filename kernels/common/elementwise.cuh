#pragma once
#include <algorithm>
#include <tuple>
#include <utility>

#include "core/launch.cuh"
#include "kernels/common/broadcast.h"

/// Elementwise ops on the GPU: one kernel for any number of operands under broadcasting, out[i] = f(in...), computed in
/// Compute<T>. Which formula: kernels/common/formulas.h.
namespace tern::cuda {

/// Elements that a thread takes in one access where the operands allow it; f64 and integers go one by one, to keep the
/// number of kernels small.
template <class T>
inline constexpr int kMapWidth = std::is_same_v<T, float> || kIsHalf<T> ? kPackWidth<T> : 1;

/// Where each operand has the element that belongs to output element `position`.
template <int N>
struct Offsets {
  int64_t v[N];
};
template <int N>
__device__ inline Offsets<N> offsets_of(const BroadcastLoop<N>& loop, int64_t position) {
  Offsets<N> offsets{};
  for (int d = 0; d < loop.rank; ++d) {
    const bool outermost = d + 1 == loop.rank;
    const int64_t next = outermost ? 0 : position / loop.extents[d];
    const int64_t index = position - next * loop.extents[d];
    for (int n = 0; n < N; ++n) offsets.v[n] += index * loop.strides[n][d];
    position = next;
  }
  return offsets;
}

/// The W elements of an operand from `at` on, or one element W times where it does not go on with the output.
template <int W, class T>
__device__ inline Pack<T, W> load_run(const T* at, bool steps) {
  if (steps) return load_pack<T, W>(at);
  Pack<T, W> pack;
  const T value = *at;
#pragma unroll
  for (int j = 0; j < W; ++j) pack.v[j] = value;
  return pack;
}

template <int W, size_t... n, class... In>
__device__ inline std::tuple<Pack<In, W>...> load_operands(std::index_sequence<n...>,
                                                           const BroadcastLoop<static_cast<int>(sizeof...(In))>& loop,
                                                           int64_t position, const In*... in) {
  const auto offsets = offsets_of(loop, position);
  return {load_run<W>(in + offsets.v[n], loop.strides[n][0] != 0)...};
}

template <class Out, int W, size_t... n, class F, class... In>
__device__ inline Pack<Out, W> map_pack(std::index_sequence<n...>, const F& f, const std::tuple<Pack<In, W>...>& in) {
  Pack<Out, W> out;
#pragma unroll
  for (int j = 0; j < W; ++j) out.v[j] = narrow<Out>(f(widen<In>(std::get<n>(in).v[j])...));
  return out;
}

/// A thread takes `kRuns` runs of W output elements at a time, a block's width apart, and loads them all before it
/// computes. W > 1 wants rows (extents[0]) of whole runs, or a single row; its last elements go one by one.
template <int W, int kRuns, class F, class Out, class... In>
__global__ void map_kernel(F f, BroadcastLoop<static_cast<int>(sizeof...(In))> loop, int64_t count, Out* out,
                           const In*... in) {
  constexpr auto kOperands = std::index_sequence_for<In...>{};
  const int64_t runs = count / W;
  const int64_t step = grid_step() * kRuns;
  for (int64_t first = int64_t{blockIdx.x} * blockDim.x * kRuns + threadIdx.x; first < runs; first += step) {
    std::tuple<Pack<In, W>...> loaded[kRuns];
#pragma unroll
    for (int r = 0; r < kRuns; ++r) {
      const int64_t run = first + int64_t{r} * blockDim.x;
      if (run < runs) loaded[r] = load_operands<W>(kOperands, loop, run * W, in...);
    }
#pragma unroll
    for (int r = 0; r < kRuns; ++r) {
      const int64_t run = first + int64_t{r} * blockDim.x;
      if (run < runs) store_pack(out + run * W, map_pack<Out>(kOperands, f, loaded[r]));
    }
  }
  if constexpr (W > 1) {
    for (int64_t i = runs * W + first_index(); i < count; i += grid_step())
      store_pack(out + i, map_pack<Out>(kOperands, f, load_operands<1>(kOperands, loop, i, in...)));
  }
}

/// Queues out[i] = f(in...) in runs of W where shapes and addresses allow it, else one by one.
template <int W, class F, class Out, class... In>
void map(Context& context, std::string_view op, const F& f, const BroadcastLoop<static_cast<int>(sizeof...(In))>& loop,
         int64_t count, Out* out, const In*... in) {
  constexpr int kRuns = std::max(1, 4 / static_cast<int>(sizeof...(In)));
  const auto start = [&](auto* kernel, int64_t threads) {
    launch(context, op, kernel, blocks_for(context, ceil_div(threads, kRuns)), kThreads, f, loop, count, out, in...);
  };
  if constexpr (W > 1) {
    const bool whole_runs = loop.rank == 1 || loop.extents[0] % W == 0;
    if (whole_runs && aligned16(out, in...)) return start(&map_kernel<W, kRuns, F, Out, In...>, ceil_div(count, W));
  }
  start(&map_kernel<1, kRuns, F, Out, In...>, count);
}

/// A loop over dense operands of one shape.
template <int N>
BroadcastLoop<N> dense_loop(int64_t count) {
  BroadcastLoop<N> loop;
  loop.extents[0] = count;
  for (auto& strides : loop.strides) strides[0] = 1;
  return loop;
}

/// y = f(x) for floating types.
template <class F>
void map_unary(Launch& launch, std::string_view op, const F& f) {
  dispatch_floating(op, launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const int64_t count = launch.out[0].numel();
    const T* x = launch.in[0].data<T>();
    map<kMapWidth<T>>(launch.context, op, f, dense_loop<1>(count), count, launch.out[0].data<T>(), x);
  });
}

template <class T, class F>
void map_binary_as(Launch& launch, std::string_view op, const F& f) {
  const auto loop = plan_broadcast<2>(launch.out[0].shape(), {launch.in[0].shape(), launch.in[1].shape()});
  const T* a = launch.in[0].data<T>();
  const T* b = launch.in[1].data<T>();
  map<kMapWidth<T>>(launch.context, op, f, loop, launch.out[0].numel(), launch.out[0].data<T>(), a, b);
}

/// out = f(a, b) under broadcasting, for floating types.
template <class F>
void map_binary(Launch& launch, std::string_view op, const F& f) {
  dispatch_floating(op, launch.out[0].dtype(), [&](auto t) { map_binary_as<decltype(t)>(launch, op, f); });
}

/// The same for every dtype.
template <class F>
void map_binary_any(Launch& launch, std::string_view op, const F& f) {
  dispatch_all(launch.out[0].dtype(), [&](auto t) { map_binary_as<decltype(t)>(launch, op, f); });
}

/// f(x, number) as a formula of x.
template <class F, class C>
struct WithNumber {
  F f;
  C number;
  __device__ C operator()(C x) const { return f(x, number); }
};

template <class T, class F>
void map_number_as(Launch& launch, std::string_view op, const F& f, double number) {
  const WithNumber<F, Compute<T>> with_number{f, static_cast<Compute<T>>(number)};
  const int64_t count = launch.out[0].numel();
  const T* x = launch.in[0].data<T>();
  map<kMapWidth<T>>(launch.context, op, with_number, dense_loop<1>(count), count, launch.out[0].data<T>(), x);
}

/// y = f(x, number), the number rounded to the type that x is computed in, for floating types.
template <class F>
void map_number(Launch& launch, std::string_view op, const F& f, double number) {
  dispatch_floating(op, launch.out[0].dtype(), [&](auto t) { map_number_as<decltype(t)>(launch, op, f, number); });
}

/// The same for every dtype.
template <class F>
void map_number_any(Launch& launch, std::string_view op, const F& f, double number) {
  dispatch_all(launch.out[0].dtype(), [&](auto t) { map_number_as<decltype(t)>(launch, op, f, number); });
}

}  // namespace tern::cuda
