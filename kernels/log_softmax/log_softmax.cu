#include "kernels/common/softmax_rows.cuh"

namespace tern::cuda {

void log_softmax(Launch& launch, int axis) { run_softmax<true>(launch, "log_softmax", axis); }

}  // namespace tern::cuda
