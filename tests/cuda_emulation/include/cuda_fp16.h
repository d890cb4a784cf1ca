#pragma once
/// Stands in for the CUDA toolkit's header: the types and their conversions, no arithmetic (kernels compute in f32).
#include <cstdint>

#include "core/dtype.h"
#include "tests/cuda_emulation/vector_types.h"

struct __half {
  uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};
using half = __half;
using half2 = __half2;

inline __half __float2half_rn(float value) { return {tern::Half(value).bits}; }
inline __half __float2half(float value) { return __float2half_rn(value); }
inline float __half2float(__half value) {
  tern::Half half;
  half.bits = value.bits;
  return static_cast<float>(half);
}
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline __half2 __float22half2_rn(float2 value) { return __floats2half2_rn(value.x, value.y); }
inline float2 __half22float2(__half2 value) { return make_float2(__half2float(value.x), __half2float(value.y)); }
inline __half __low2half(__half2 value) { return value.x; }
inline __half __high2half(__half2 value) { return value.y; }
inline float __low2float(__half2 value) { return __half2float(value.x); }
inline float __high2float(__half2 value) { return __half2float(value.y); }
