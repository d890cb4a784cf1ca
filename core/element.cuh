#pragma once
#include <cstdint>
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "core/convert.h"

/// Element types on the device. 16-bit floats are computed in f32 (Compute<T>), as on the CPU.
namespace tern::cuda {

template <class T>
__device__ inline Compute<T> widen(T value) {
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, Half>)
    return __half2float(__ushort_as_half(value.bits));
  else if constexpr (std::is_same_v<T, BFloat16>)
    return __bfloat162float(__ushort_as_bfloat16(value.bits));
  else
    return value;
#else
  return load_element(value);
#endif
}

/// Rounds to nearest, ties to even.
template <class T>
__device__ inline T narrow(Compute<T> value) {
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, Half>) {
    Half result;
    result.bits = __half_as_ushort(__float2half_rn(value));
    return result;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    BFloat16 result;
    result.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
    return result;
  } else {
    return value;
  }
#else
  return store_element<T>(value);
#endif
}

/// N elements that are read or written in one access: 16 bytes at most.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

/// Elements of T in a 16-byte access.
template <class T>
inline constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

/// Whether every pointer is a multiple of 16 bytes.
template <class... P>
bool aligned16(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Calls `launcher(std::integral_constant<int, width>)` with the widest access that `channels` and the pointers allow.
template <class T, class Launcher, class... P>
void with_pack_width(int64_t channels, const Launcher& launcher, const P*... pointers) {
  if (channels % kPackWidth<T> == 0 && aligned16(pointers...))
    launcher(std::integral_constant<int, kPackWidth<T>>());
  else
    launcher(std::integral_constant<int, 1>());
}

template <class T, int N>
__device__ inline Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
__device__ inline void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

}  // namespace tern::cuda
