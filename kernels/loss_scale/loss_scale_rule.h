#pragma once
#include "core/rng.h"
#include "kernels/loss_scale/loss_scale.h"

namespace tern {

/// The rule of loss_scale.h, which both devices share. A flag that is NaN counts as found.
TERN_HOST_DEVICE inline void move_loss_scale(float& scale, int64_t& good_steps, float found_inf, const LossScale& o) {
  double next = static_cast<double>(scale);
  if (found_inf != 0) {
    next *= o.backoff;
    good_steps = 0;
  } else if (++good_steps >= o.growth_interval) {
    next *= o.growth;
    good_steps = 0;
  } else {
    return;
  }
  next = next < o.max_scale ? next : o.max_scale;
  scale = static_cast<float>(next > o.min_scale ? next : o.min_scale);
}

}  // namespace tern
