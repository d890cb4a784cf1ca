#pragma once
#include <algorithm>
#include <bit>

#include "core/launch.cuh"

/// Ops that move elements move bytes: one kernel for all dtypes, in units as large as sizes and addresses allow.
namespace tern::cuda {

/// Calls f with an unsigned integer of the size of `dtype`.
template <class F>
void dispatch_bits(DType dtype, const F& f) {
  switch (size_of(dtype)) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    default: return f(uint64_t{});
  }
}

/// The largest unit of 1, 2, 4, 8 or 16 bytes that divides `bytes` and the addresses.
inline int64_t unit_of(int64_t bytes, const void* from, const void* to) {
  const uint64_t all =
      static_cast<uint64_t>(bytes) | reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to) | 16;
  return int64_t{1} << std::countr_zero(all);
}

/// Where a unit comes from and goes to, in units; from < 0: it is zero.
struct Place {
  int64_t from, to;
};

/// A thread moves kRuns units at a time, a block's width apart, and loads them all before it stores.
template <class Unit, class Where>
__global__ void move_kernel(Where where, const Unit* from, Unit* to, int64_t count) {
  constexpr int kRuns = 4;
  const int64_t step = grid_step() * kRuns;
  for (int64_t first = int64_t{blockIdx.x} * blockDim.x * kRuns + threadIdx.x; first < count; first += step) {
    Unit units[kRuns] = {};
    Place places[kRuns];
#pragma unroll
    for (int r = 0; r < kRuns; ++r) {
      const int64_t i = first + int64_t{r} * blockDim.x;
      if (i >= count) continue;
      places[r] = where(i);
      if (places[r].from >= 0) units[r] = from[places[r].from];
    }
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (first + int64_t{r} * blockDim.x < count) to[places[r].to] = units[r];
  }
}

/// Queues `count` moves of units of `unit` bytes to where `where(i)`, a Place for i in 0..count-1, says.
template <class Where>
void move_units(Context& context, std::string_view op, int64_t unit, const Where& where, const void* from, void* to,
                int64_t count) {
  const auto start = [&](auto u) {
    using Unit = decltype(u);
    launch(context, op, move_kernel<Unit, Where>, blocks_for(context, ceil_div(count, 4)), kThreads, where,
           static_cast<const Unit*>(from), static_cast<Unit*>(to), count);
  };
  switch (unit) {
    case 1: return start(uint8_t{});
    case 2: return start(uint16_t{});
    case 4: return start(uint32_t{});
    case 8: return start(uint64_t{});
    default: return start(Pack<uint64_t, 2>{});
  }
}

/// Rows of `length` units, from_pitch apart in one tensor and to_pitch apart in the other.
struct RowsAt {
  int64_t length, from_pitch, from_begin, to_pitch, to_begin;
  __device__ Place operator()(int64_t i) const {
    const int64_t row = i / length, column = i - row * length;
    return {row * from_pitch + from_begin + column, row * to_pitch + to_begin + column};
  }
};

}  // namespace tern::cuda
