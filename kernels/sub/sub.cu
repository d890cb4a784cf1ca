#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void sub(Launch& launch) { map_binary_any(launch, "sub", formula::Sub{}); }
void number_sub(Launch& launch, double number) { map_number_any(launch, "number_sub", formula::Reversed<formula::Sub>{}, number); }

}  // namespace tern::cuda
