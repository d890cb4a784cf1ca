#pragma once
#include "core/tensor.h"

namespace tern {

/// average = decay * average + (1 - decay) * x, in place: the exponential moving average of weights.
///   average f32 [..]  x f32 [..]  decay f64 [1], 0 to 1. Not on the tape.
/// Throws ShapeError when average and x differ.
void ema(const Tensor& average, const Tensor& x, const Tensor& decay);

}  // namespace tern
