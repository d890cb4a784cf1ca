#pragma once
#include "core/rng.h"

namespace tern {

/// scale * min(1, max_norm / (scale * norm + 1e-6)); NaN for a NaN norm.
TERN_HOST_DEVICE inline float clip_formula(float norm, float scale, float max_norm) {
  const float ratio = max_norm / (scale * norm + 1e-6f);
  return ratio > 1 ? scale : scale * ratio;
}

}  // namespace tern
