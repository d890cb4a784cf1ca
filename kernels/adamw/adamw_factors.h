#pragma once
#include <cmath>

#include "core/rng.h"

/// The arithmetic of AdamW that both devices share.
namespace tern {

/// One segment's factors, worked out in f64 and rounded once, as PyTorch does.
struct AdamWFactors {
  float grad_scale, keep, one_minus_beta1, beta2, one_minus_beta2, root_correction2, eps, minus_step_size;
};

/// `step` counts from 1.
TERN_HOST_DEVICE inline AdamWFactors adamw_factors(double beta1, double beta2, double eps, double weight_decay,
                                                   double step, double lr, float grad_scale) {
  const double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
  return {grad_scale,
          static_cast<float>(1 - lr * weight_decay),
          static_cast<float>(1 - beta1),
          static_cast<float>(beta2),
          static_cast<float>(1 - beta2),
          static_cast<float>(std::sqrt(correction2)),
          static_cast<float>(eps),
          static_cast<float>(-lr / correction1)};
}

}  // namespace tern
