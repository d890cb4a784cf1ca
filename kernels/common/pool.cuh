#pragma once
#include "core/launch.cuh"
#include "kernels/common/window.h"

/// What the pooling kernels share: a thread owns a pack of kWidth neighbouring channels of a pixel and reads every
/// pixel that goes into it, so nothing is added by two threads.
namespace tern::cuda {

/// Channels of one pixel of a picture [images, height, width, channels].
struct PoolPixel {
  int64_t image, row, column, channel;
};

/// Quotient and remainder, in 32 bits where both numbers fit: a 64-bit division takes about four times as long.
struct Division {
  int64_t quotient, remainder;
};
__device__ inline Division divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) != 0) return {a / b, a % b};
  const uint32_t q = static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return {q, static_cast<int64_t>(static_cast<uint32_t>(a) - q * static_cast<uint32_t>(b))};
}

__device__ inline PoolPixel pool_pixel(int64_t pack, int width, int64_t channels, int64_t columns, int64_t rows) {
  const Division c = divide(pack, channels / width), column = divide(c.quotient, columns);
  const Division row = divide(column.quotient, rows);
  return {row.quotient, row.remainder, column.remainder, c.remainder * width};
}

/// Calls `body(i, j)` for each window that covers pixel (r, s), row-major.
template <class Body>
__device__ inline void for_covering_windows(const Window& window, int64_t r, int64_t s, const Body& body) {
  for (int64_t i = window.first_over(r); i < window.end_over(r, window.p); ++i)
    for (int64_t j = window.first_over(s); j < window.end_over(s, window.q); ++j) body(i, j);
}

}  // namespace tern::cuda
