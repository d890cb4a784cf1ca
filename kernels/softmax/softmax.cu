#include "kernels/common/softmax_rows.cuh"

namespace tern::cuda {

void softmax(Launch& launch, int axis) { run_softmax<false>(launch, "softmax", axis); }

}  // namespace tern::cuda
