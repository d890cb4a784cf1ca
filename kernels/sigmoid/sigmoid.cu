#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void sigmoid(Launch& launch) { map_unary(launch, "sigmoid", formula::Sigmoid{}); }
void sigmoid_backward(Launch& launch) { map_binary(launch, "sigmoid_backward", formula::SigmoidBackward{}); }

}  // namespace tern::cuda
