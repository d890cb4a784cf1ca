#pragma once
#include "core/tensor.h"

namespace tern {

struct ClipCoefficient {
  double max_norm = 1;
};

/// What to multiply gradients by so that they are scaled by `scale` (one over the loss scale or the number of pictures)
/// and then clipped to the global norm max_norm: scale * min(1, max_norm / (scale * norm + 1e-6)), as
/// torch.nn.utils.clip_grad_norm_. A NaN norm gives NaN.
///   norm f32 [1], of the gradients before scaling  scale f32 [1]  ->  f32 [1]. Not on the tape.
Tensor clip_coefficient(const Tensor& norm, const Tensor& scale, ClipCoefficient options);

}  // namespace tern
