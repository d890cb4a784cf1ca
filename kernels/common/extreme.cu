#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void equal_mask(Launch& launch) { map_binary(launch, "equal_mask", formula::EqualMask{}); }

}  // namespace tern::cuda
