#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void relu(Launch& launch) { map_unary(launch, "relu", formula::Relu{}); }
void relu_backward(Launch& launch) { map_binary(launch, "relu_backward", formula::ReluBackward{}); }

}  // namespace tern::cuda
