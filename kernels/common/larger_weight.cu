#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void larger_weight(Launch& launch) { map_binary(launch, "larger_weight", formula::LargerWeight{}); }

}  // namespace tern::cuda
