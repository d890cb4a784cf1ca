#include "kernels/clamp/clamp.h"

#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void clamp(Launch& launch, const Clamp& bounds) {
  map_unary(launch, "clamp", formula::Clamp{bounds.low, bounds.high});
}

void clamp_backward(Launch& launch, const Clamp& bounds) {
  map_binary(launch, "clamp_backward", formula::ClampBackward{bounds.low, bounds.high});
}

}  // namespace tern::cuda
