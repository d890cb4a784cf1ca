#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void mul(Launch& launch) { map_binary_any(launch, "mul", formula::Mul{}); }
void mul_number(Launch& launch, double number) { map_number_any(launch, "mul_number", formula::Mul{}, number); }

}  // namespace tern::cuda
