#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void maximum(Launch& launch) { map_binary_any(launch, "maximum", formula::Maximum{}); }

}  // namespace tern::cuda
