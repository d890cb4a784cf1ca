#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void safe_div(Launch& launch) { map_binary(launch, "safe_div", formula::SafeDiv{}); }

}  // namespace tern::cuda
