#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void minimum(Launch& launch) { map_binary_any(launch, "minimum", formula::Minimum{}); }

}  // namespace tern::cuda
