#pragma once
#include <cmath>

#include "kernels/common/activation.h"
#include "tests/op_cases.h"

/// Naive references for normalisations.
namespace tern::testing {

inline double naive_activation(double z, Activation activation) {
  if (activation == Activation::relu) return z < 0 ? 0 : z;
  return activation == Activation::gelu ? z * 0.5 * std::erfc(-z / std::sqrt(2.0)) : z;
}

struct NaiveBatchNorm {
  Array y, mean, var;
};

/// Statistics over the rows of each lane by their definitions. gamma and beta may be null.
inline NaiveBatchNorm naive_batch_norm(const Array& x, const Array* gamma, const Array* beta, double eps, Activation activation,
                                       int64_t lane_size) {
  const int64_t n = x.shape[0], channels = x.shape[-1], positions = x.shape.numel() / n / channels;
  const int64_t size = lane_size == 0 ? n : lane_size, lanes = (n + size - 1) / size;
  NaiveBatchNorm out{x, {{lanes, channels}, {}}, {{lanes, channels}, {}}};
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t begin = lane * size * positions, end = std::min(n, (lane + 1) * size) * positions;
      double mean = 0, var = 0;
      for (int64_t r = begin; r < end; ++r) mean += x[r * channels + c] / static_cast<double>(end - begin);
      for (int64_t r = begin; r < end; ++r)
        var += std::pow(x[r * channels + c] - mean, 2) / static_cast<double>(end - begin);
      for (int64_t r = begin; r < end; ++r) {
        const double normal = (x[r * channels + c] - mean) / std::sqrt(var + eps);
        const double z = normal * (gamma ? (*gamma)[c] : 1) + (beta ? (*beta)[c] : 0);
        out.y[r * channels + c] = naive_activation(z, activation);
      }
      out.mean.values.push_back(mean);
      out.var.values.push_back(var);
    }
  return out;
}

/// Rows as long as gamma.
inline Array naive_layer_norm(const Array& x, const Array& gamma, const Array& beta, double eps) {
  const int64_t width = gamma.shape.numel();
  Array y = x;
  for (int64_t row = 0; row < x.shape.numel(); row += width) {
    double mean = 0, var = 0;
    for (int64_t i = 0; i < width; ++i) mean += x[row + i] / static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) var += std::pow(x[row + i] - mean, 2) / static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) y[row + i] = (x[row + i] - mean) / std::sqrt(var + eps) * gamma[i] + beta[i];
  }
  return y;
}

}  // namespace tern::testing
