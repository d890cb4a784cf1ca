#pragma once
/// The device language: kernels are ordinary functions, and a block's threads fibers (executor.h). Only in .cu files.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "tests/cuda_emulation/executor.h"
#include "tests/cuda_emulation/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// Shared arrays are ordinary statics (launches run one at a time), so that ASan and UBSan see their bounds.
#define __shared__ static

inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// Where in a kernel a rendezvous stands: two barriers of one block may not be different ones.
#define TERN_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

#include "tests/cuda_emulation/device_math.h"
#include "tests/cuda_emulation/device_warp.h"
