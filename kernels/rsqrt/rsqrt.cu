#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void rsqrt(Launch& launch) { map_unary(launch, "rsqrt", formula::Rsqrt{}); }

}  // namespace tern::cuda
