#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/op.h"
#include "core/rng.h"
#include "kernels/common/parallel.h"

/// The geometry of two-dimensional pooling windows.
namespace tern {

/// Square windows of a picture x [N,H,W,C] -> [N,P,Q,C]. The padding is never read.
struct Window {
  int64_t kernel, stride, padding;
  int64_t n, h, w, c, p, q;

  /// The part of window (i, j) that lies inside the picture, as rows and columns of x.
  TERN_HOST_DEVICE int64_t row_begin(int64_t i) const { return std::max<int64_t>(0, i * stride - padding); }
  TERN_HOST_DEVICE int64_t row_end(int64_t i) const { return std::min(h, i * stride - padding + kernel); }
  TERN_HOST_DEVICE int64_t col_begin(int64_t j) const { return std::max<int64_t>(0, j * stride - padding); }
  TERN_HOST_DEVICE int64_t col_end(int64_t j) const { return std::min(w, j * stride - padding + kernel); }
  /// Index of row r, column s in window (i, j), row-major.
  TERN_HOST_DEVICE int64_t position(int64_t i, int64_t j, int64_t r, int64_t s) const {
    return (r - i * stride + padding) * kernel + (s - j * stride + padding);
  }
  /// The windows along one axis, of `count` there, that cover coordinate `at`: first_over(at) .. end_over(at, count) - 1.
  TERN_HOST_DEVICE int64_t first_over(int64_t at) const {
    return at + padding < kernel ? 0 : (at + padding - kernel) / stride + 1;
  }
  TERN_HOST_DEVICE int64_t end_over(int64_t at, int64_t count) const {
    return std::min(count, (at + padding) / stride + 1);
  }
  /// Values that a mean over window (i, j) divides by.
  TERN_HOST_DEVICE int64_t values_in(int64_t i, int64_t j, bool count_padding) const {
    if (count_padding) return kernel * kernel;
    return (row_end(i) - row_begin(i)) * (col_end(j) - col_begin(j));
  }
  Shape out() const { return {n, p, q, c}; }
  /// Element offsets of a pixel of x and of y.
  TERN_HOST_DEVICE int64_t x_at(int64_t image, int64_t r, int64_t s) const { return ((image * h + r) * w + s) * c; }
  TERN_HOST_DEVICE int64_t y_at(int64_t image, int64_t i, int64_t j) const { return ((image * p + i) * q + j) * c; }
};

/// `stride` 0: the kernel. Throws ConfigError for options that fit no picture, ShapeError when x is not [N,H,W,C] or is
/// smaller than a window.
Window make_window(std::string_view op, int64_t kernel, int64_t stride, int64_t padding, const Shape& x);

/// Calls `body(r, s)` for each pixel of window (i, j) inside the picture, row-major.
template <class Body>
TERN_HOST_DEVICE void for_window(const Window& window, int64_t i, int64_t j, const Body& body) {
  for (int64_t r = window.row_begin(i); r < window.row_end(i); ++r)
    for (int64_t s = window.col_begin(j); s < window.col_end(j); ++s) body(r, s);
}

/// Calls `body(image, i, j)` for each output pixel, on the pool.
template <class Body>
void for_output_pixels(Context& context, const Window& window, const Body& body) {
  for_chunks(
      context, window.n * window.p * window.q,
      [&](int64_t begin, int64_t end) {
        int64_t image = begin / (window.p * window.q), i = begin / window.q % window.p, j = begin % window.q;
        for (int64_t at = begin; at < end; ++at) {
          body(image, i, j);
          if (++j < window.q) continue;
          j = 0;
          if (++i == window.p) i = 0, ++image;
        }
      },
      std::max<int64_t>(1, 8192 / window.c));
}

}  // namespace tern
