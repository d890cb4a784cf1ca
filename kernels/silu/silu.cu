#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void silu(Launch& launch) { map_unary(launch, "silu", formula::Silu{}); }
void silu_backward(Launch& launch) { map_binary(launch, "silu_backward", formula::SiluBackward{}); }

}  // namespace tern::cuda
