#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/convert.h"
#include "core/op.h"
#include "kernels/common/parallel.h"

/// What softmax, log-softmax and cross-entropy share: log(sum of exp) of rows along an axis, in f64.
namespace tern {

/// log(sum of exp(x)) = largest + log_sum, kept apart so that x - largest loses nothing.
struct LogSumExp {
  double largest, log_sum;
  /// log of the softmax of a logit of the row.
  double log_softmax(double x) const { return (x - largest) - log_sum; }
};

template <class T>
LogSumExp log_sum_exp(const T* x, int64_t count, int64_t stride) {
  double largest = static_cast<double>(load_element(x[0]));
  for (int64_t i = 1; i < count; ++i) largest = std::max(largest, static_cast<double>(load_element(x[i * stride])));
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(load_element(x[i * stride])) - largest);
  return {largest, std::log(sum)};
}

/// y = f(log_softmax(x)) along `axis`, element by element; f works in f64.
template <class F>
void map_log_softmax(Launch& launch, std::string_view op, int axis, const F& f) {
  const Shape& shape = launch.in[0].shape();
  const int64_t count = shape[axis];
  int64_t inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  dispatch_floating(op, launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    for_chunks(
        launch.context, shape.numel() / count,
        [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row) {
            const int64_t at = row / inner * count * inner + row % inner;
            const T* x = launch.in[0].data<T>() + at;
            T* y = launch.out[0].data<T>() + at;
            const LogSumExp sums = log_sum_exp(x, count, inner);
            for (int64_t i = 0; i < count; ++i)
              y[i * inner] = store_element<T>(
                  static_cast<Compute<T>>(f(sums.log_softmax(static_cast<double>(load_element(x[i * inner]))))));
          }
        },
        std::max<int64_t>(1, 2048 / count));
  });
}

/// The inputs' checks, and the axis as 0..rank-1.
inline int check_softmax(std::string_view op, const Spec& x, int axis) {
  if (!is_floating(x.dtype)) throw_not_floating(op, x.dtype);
  if (x.shape.rank() == 0 || x.numel() == 0)
    throw_shape(op, "x is " + x.shape.str() + ", wants at least one element along an axis");
  return x.shape.normalize_axis(axis);
}

}  // namespace tern
