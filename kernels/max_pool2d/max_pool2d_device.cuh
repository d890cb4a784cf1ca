#pragma once
#include "kernels/common/pool.cuh"

/// What kernels that take the largest element of windows share.
namespace tern::cuda {

/// The running maximum of kWidth channels. PyTorch's rule: the first of equal elements, the last of NaNs.
template <class T, int kWidth>
struct Largest {
  Compute<T> best[kWidth];
  int where[kWidth];

  __device__ void start(const Pack<T, kWidth>& x, int position) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      best[k] = widen(x.v[k]);
      where[k] = position;
    }
  }
  __device__ void see(const Pack<T, kWidth>& x, int position) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Compute<T> v = widen(x.v[k]);
      const bool wins = v > best[k] || v != v;
      best[k] = wins ? v : best[k];
      where[k] = wins ? position : where[k];
    }
  }
  __device__ Pack<T, kWidth> values() const {
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out.v[k] = narrow<T>(best[k]);
    return out;
  }
  template <class Index>
  __device__ Pack<Index, kWidth> positions() const {
    Pack<Index, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out.v[k] = static_cast<Index>(where[k]);
    return out;
  }
};

/// Of the window of output pixel `o`; load(r, s) reads the pack of a pixel. kKernel 2 or 3: a window of that size whose loads are all
/// under way at once; 0: any window.
template <class T, int kWidth, int kKernel, class Load>
__device__ inline Largest<T, kWidth> largest_of_window(const Window& w, const PoolPixel& o, const Load& load) {
  const int64_t first_r = w.row_begin(o.row), first_s = w.col_begin(o.column);
  Largest<T, kWidth> largest;
  if constexpr (kKernel > 0) {
    const int64_t top = o.row * w.stride - w.padding, left = o.column * w.stride - w.padding;
    const int64_t last_r = w.row_end(o.row) - 1, last_s = w.col_end(o.column) - 1;
    Pack<T, kWidth> values[kKernel * kKernel];
#pragma unroll
    for (int k = 0; k < kKernel * kKernel; ++k)  // outside the picture: its edge once more, and left out below
      values[k] = load(min(max(top + k / kKernel, first_r), last_r), min(max(left + k % kKernel, first_s), last_s));
    bool started = false;
#pragma unroll
    for (int k = 0; k < kKernel * kKernel; ++k) {
      const int64_t r = top + k / kKernel, s = left + k % kKernel;
      if (r < first_r || r > last_r || s < first_s || s > last_s) continue;
      if (started) largest.see(values[k], k);
      else largest.start(values[k], k);
      started = true;
    }
  } else {
    largest.start(load(first_r, first_s), static_cast<int>(w.position(o.row, o.column, first_r, first_s)));
    for_window(w, o.row, o.column, [&](int64_t r, int64_t s) {
      largest.see(load(r, s), static_cast<int>(w.position(o.row, o.column, r, s)));
    });
  }
  return largest;
}

}  // namespace tern::cuda
