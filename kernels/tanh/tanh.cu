#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void tanh(Launch& launch) { map_unary(launch, "tanh", formula::Tanh{}); }
void tanh_backward(Launch& launch) { map_binary(launch, "tanh_backward", formula::TanhBackward{}); }

}  // namespace tern::cuda
