#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void sqrt(Launch& launch) { map_unary(launch, "sqrt", formula::Sqrt{}); }

}  // namespace tern::cuda
