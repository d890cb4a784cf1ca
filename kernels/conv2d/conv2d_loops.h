#pragma once
#include <algorithm>
#include <cstdint>

#include "core/dtype.h"
#include "core/lanes.h"
#include "core/thread_pool.h"
#include "kernels/conv2d/geometry.h"

/// conv2d's passes as plain loops for the element types without a kernel of their own: f64 (which gradient checks use)
/// and the 16-bit ones. Sums are kept in Accumulator<T>.
namespace tern {

template <class T>
void conv2d_loops(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, ThreadPool& pool) {
  using Sum = Accumulator<T>;
  const Conv2d& o = s.options;
  const int64_t channels = s.group_c();
  const auto element = [&](int64_t n, int64_t p, int64_t q, int64_t k) {
    Sum sum = bias != nullptr ? static_cast<Sum>(bias[k]) : Sum{0};
    for (int64_t r = 0; r < s.r; ++r) {
      const int64_t h = p * o.stride.h - o.padding.h + r * o.dilation.h;
      if (h < 0 || h >= s.h) continue;
      for (int64_t t = 0; t < s.s; ++t) {
        const int64_t v = q * o.stride.w - o.padding.w + t * o.dilation.w;
        if (v < 0 || v >= s.w) continue;
        const T* from = x + ((n * s.h + h) * s.w + v) * s.c + k / s.group_k() * channels;
        const T* filter = w + ((k * s.r + r) * s.s + t) * channels;
        for (int64_t c = 0; c < channels; ++c) sum += static_cast<Sum>(from[c]) * static_cast<Sum>(filter[c]);
      }
    }
    return static_cast<T>(sum);
  };
  pool.parallel_for(s.n * s.p, [&](int64_t row) {
    T* to = y + row * s.q * s.k;
    for (int64_t q = 0; q < s.q; ++q)
      for (int64_t k = 0; k < s.k; ++k) *to++ = element(row / s.p, row % s.p, q, k);
  });
}

/// The output that meets input `i` at filter tap `tap` along one axis, or -1.
inline int64_t output_at(int64_t i, int64_t tap, int64_t stride, int64_t padding, int64_t dilation, int64_t outputs) {
  const int64_t position = i + padding - tap * dilation;
  return position >= 0 && position % stride == 0 && position / stride < outputs ? position / stride : -1;
}

template <class T>
void conv2d_dgrad_loops(const ConvShape& s, const T* dy, const T* w, T* dx, ThreadPool& pool) {
  using Sum = Accumulator<T>;
  const Conv2d& o = s.options;
  const int64_t channels = s.group_c(), filters = s.group_k();
  const auto element = [&](int64_t n, int64_t h, int64_t v, int64_t c) {
    const int64_t group = c / channels;
    Sum sum = 0;
    for (int64_t r = 0; r < s.r; ++r) {
      const int64_t p = output_at(h, r, o.stride.h, o.padding.h, o.dilation.h, s.p);
      if (p < 0) continue;
      for (int64_t t = 0; t < s.s; ++t) {
        const int64_t q = output_at(v, t, o.stride.w, o.padding.w, o.dilation.w, s.q);
        if (q < 0) continue;
        const T* from = dy + ((n * s.p + p) * s.q + q) * s.k;
        for (int64_t k = group * filters; k < (group + 1) * filters; ++k)
          sum += static_cast<Sum>(from[k]) * static_cast<Sum>(w[((k * s.r + r) * s.s + t) * channels + c % channels]);
      }
    }
    return static_cast<T>(sum);
  };
  pool.parallel_for(s.n * s.h, [&](int64_t row) {
    T* to = dx + row * s.w * s.c;
    for (int64_t v = 0; v < s.w; ++v)
      for (int64_t c = 0; c < s.c; ++c) *to++ = element(row / s.h, row % s.h, v, c);
  });
}

/// `lane_sums` is scratch: one Accumulator<T> for each lane and weight.
template <class T>
void conv2d_wgrad_loops(const ConvShape& s, const Lanes& lanes, const T* x, const T* dy, Accumulator<T>* lane_sums,
                        T* dw, ThreadPool& pool) {
  using Sum = Accumulator<T>;
  const Conv2d& o = s.options;
  const int64_t channels = s.group_c(), filter = s.r * s.s * channels, weights = s.k * filter;
  const auto add_image = [&](int64_t n, int64_t k, int64_t r, int64_t t, Sum* to) {
    const ValidRange p = valid_outputs(s.p, s.h, o.stride.h, r * o.dilation.h - o.padding.h);
    const ValidRange q = valid_outputs(s.q, s.w, o.stride.w, t * o.dilation.w - o.padding.w);
    for (int64_t i = p.begin; i < p.end; ++i) {
      for (int64_t j = q.begin; j < q.end; ++j) {
        const int64_t h = i * o.stride.h + r * o.dilation.h - o.padding.h;
        const int64_t v = j * o.stride.w + t * o.dilation.w - o.padding.w;
        const T* from = x + ((n * s.h + h) * s.w + v) * s.c + k / s.group_k() * channels;
        const Sum g = static_cast<Sum>(dy[((n * s.p + i) * s.q + j) * s.k + k]);
        for (int64_t c = 0; c < channels; ++c) to[c] += g * static_cast<Sum>(from[c]);
      }
    }
  };
  pool.parallel_for(s.k, [&](int64_t k) {
    for (int64_t lane = 0; lane < lanes.count(); ++lane) {
      Sum* sums = lane_sums + lane * weights + k * filter;
      std::fill_n(sums, filter, Sum{0});
      for (int64_t n = lanes.begin(lane); n < lanes.end(lane); ++n)
        for (int64_t tap = 0; tap < s.r * s.s; ++tap) add_image(n, k, tap / s.s, tap % s.s, sums + tap * channels);
    }
    tree_sum(lane_sums + k * filter, lanes.count(), weights, filter);
    for (int64_t i = k * filter; i < (k + 1) * filter; ++i) dw[i] = static_cast<T>(lane_sums[i]);
  });
}

}  // namespace tern
