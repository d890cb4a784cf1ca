#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void log(Launch& launch) { map_unary(launch, "log", formula::Log{}); }

}  // namespace tern::cuda
