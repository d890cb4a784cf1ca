#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void neg(Launch& launch) { map_unary(launch, "neg", formula::Neg{}); }

}  // namespace tern::cuda
