#pragma once
#include "kernels/conv2d/conv2d.h"
#include "tests/op_cases.h"

/// Convolution as its definition says, in f64.
namespace tern::testing {

/// Calls `visit(y index, x index, w index)` for every product of conv2d.
template <class Visit>
void for_conv_products(const Shape& x, const Shape& w, const Shape& y, const Conv2d& o, const Visit& visit) {
  const int64_t filters = w[0] / o.groups;
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t k = 0; k < y[3]; ++k)
          for (int64_t r = 0; r < w[1]; ++r)
            for (int64_t s = 0; s < w[2]; ++s) {
              const int64_t i = p * o.stride.h - o.padding.h + r * o.dilation.h;
              const int64_t j = q * o.stride.w - o.padding.w + s * o.dilation.w;
              if (i < 0 || i >= x[1] || j < 0 || j >= x[2]) continue;
              for (int64_t c = 0; c < w[3]; ++c)
                visit(((n * y[1] + p) * y[2] + q) * y[3] + k,
                      ((n * x[1] + i) * x[2] + j) * x[3] + k / filters * w[3] + c,
                      ((k * w[1] + r) * w[2] + s) * w[3] + c);
            }
}

inline Shape naive_conv_shape(const Shape& x, const Shape& w, const Conv2d& o) {
  return {x[0], (x[1] + 2 * o.padding.h - o.dilation.h * (w[1] - 1) - 1) / o.stride.h + 1,
          (x[2] + 2 * o.padding.w - o.dilation.w * (w[2] - 1) - 1) / o.stride.w + 1, w[0]};
}

inline Array zeros_of(const Shape& shape) { return {shape, std::vector<double>(static_cast<size_t>(shape.numel()))}; }

inline Array naive_conv2d(const Array& x, const Array& w, const Array* bias, const Conv2d& o) {
  Array y = zeros_of(naive_conv_shape(x.shape, w.shape, o));
  for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] = bias != nullptr ? (*bias)[i % w.shape[0]] : 0;
  for_conv_products(x.shape, w.shape, y.shape, o, [&](int64_t i, int64_t j, int64_t k) { y[i] += x[j] * w[k]; });
  return y;
}

inline Array naive_conv2d_dgrad(const Array& dy, const Array& w, const Shape& x, const Conv2d& o) {
  Array dx = zeros_of(x);
  for_conv_products(x, w.shape, dy.shape, o, [&](int64_t i, int64_t j, int64_t k) { dx[j] += dy[i] * w[k]; });
  return dx;
}

inline Array naive_conv2d_wgrad(const Array& x, const Array& dy, const Shape& w, const Conv2d& o) {
  Array dw = zeros_of(w);
  for_conv_products(x.shape, w, dy.shape, o, [&](int64_t i, int64_t j, int64_t k) { dw[k] += dy[i] * x[j]; });
  return dw;
}

}  // namespace tern::testing
