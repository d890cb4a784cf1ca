#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void exp(Launch& launch) { map_unary(launch, "exp", formula::Exp{}); }

}  // namespace tern::cuda
