#pragma once
#include <cmath>
#include <limits>

#include "tests/op_cases.h"

/// Naive references for pooling.
namespace tern::testing {

enum class Pooling { max, average, average_of_inside };

/// Looks at every pixel of every window of the padded picture.
inline Array naive_pool2d(const Array& x, int64_t kernel, int64_t stride, int64_t padding, Pooling what) {
  const int64_t n = x.shape[0], h = x.shape[1], w = x.shape[2], c = x.shape[3];
  const int64_t p = (h + 2 * padding - kernel) / stride + 1, q = (w + 2 * padding - kernel) / stride + 1;
  Array y{{n, p, q, c}, {}};
  for (int64_t b = 0; b < n; ++b)
    for (int64_t i = 0; i < p; ++i)
      for (int64_t j = 0; j < q; ++j)
        for (int64_t k = 0; k < c; ++k) {
          double largest = -std::numeric_limits<double>::infinity(), sum = 0;
          int64_t inside = 0;
          for (int64_t u = 0; u < kernel; ++u)
            for (int64_t v = 0; v < kernel; ++v) {
              const int64_t r = i * stride + u - padding, s = j * stride + v - padding;
              if (r < 0 || r >= h || s < 0 || s >= w) continue;
              const double value = x[((b * h + r) * w + s) * c + k];
              if (value > largest || std::isnan(value)) largest = value;
              sum += value;
              ++inside;
            }
          const double count = static_cast<double>(what == Pooling::average ? kernel * kernel : inside);
          y.values.push_back(what == Pooling::max ? largest : sum / count);
        }
  return y;
}

}  // namespace tern::testing
