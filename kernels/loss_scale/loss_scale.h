#pragma once
#include "core/tensor.h"

namespace tern {

struct LossScale {
  double growth = 2;              ///< factor after growth_interval good steps in a row
  double backoff = 0.5;           ///< factor after a step whose gradients are not finite
  int64_t growth_interval = 2000;
  double min_scale = 1;
  double max_scale = 0x1p24;
};

/// Moves a dynamic loss scale on after a step, in place and without the host: where found_inf is not 0, scale *= backoff
/// and the count of good steps starts again; else the step counts, and after growth_interval of them scale *= growth.
/// The scale stays within min_scale..max_scale. The rule of torch.amp.GradScaler.
///   scale f32 [1]  good_steps i64 [1], 0 at first  found_inf f32 [1]. Not on the tape.
/// Throws ShapeError for tensors that do not fit, ConfigError for options that make no sense.
/// Ref: Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740.
void loss_scale_update(const Tensor& scale, const Tensor& good_steps, const Tensor& found_inf, LossScale options = {});

}  // namespace tern
