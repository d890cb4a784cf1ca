#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>

/// How the threads of a CUDA block lie over a row-major matrix whose columns are reduced: see column_sum.cuh.
namespace tern {

inline constexpr int kColumnThreads = 256;

/// Threads side by side for rows of `packs` accesses: a power of two, at most a warp.
inline int columns_for(int64_t packs) {
  return static_cast<int>(std::min<uint64_t>(32, std::bit_ceil(static_cast<uint64_t>(packs))));
}

}  // namespace tern
