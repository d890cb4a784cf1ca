#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void add(Launch& launch) { map_binary_any(launch, "add", formula::Add{}); }
void add_number(Launch& launch, double number) { map_number_any(launch, "add_number", formula::Add{}, number); }

}  // namespace tern::cuda
