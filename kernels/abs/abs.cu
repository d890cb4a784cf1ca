#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void abs(Launch& launch) { map_unary(launch, "abs", formula::Abs{}); }
void sign(Launch& launch) { map_unary(launch, "sign", formula::Sign{}); }

}  // namespace tern::cuda
