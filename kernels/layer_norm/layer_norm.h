#pragma once
#include "core/tensor.h"

namespace tern {

struct LayerNorm {
  int axes = 1;  ///< how many of the last axes a row has
  double eps = 1e-5;
};

/// y = (x - mean) / sqrt(var + eps) * gamma + beta, with the mean and the biased variance of each row.
///   x [.., D]  gamma, beta [D] (the last `axes` axes of x) of x's dtype or f32, or undefined: 1 and 0  ->  y as x
/// The gradient of gamma and beta is summed lane by lane of context.lane_size() samples (axis 0), then over lanes in
/// the canonical tree. Ref: Ba, Kiros, Hinton: Layer normalization (2016). Throws ShapeError when gamma or beta is not
/// shaped like a row, ConfigError for a bad option.
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, LayerNorm options = {});

}  // namespace tern
