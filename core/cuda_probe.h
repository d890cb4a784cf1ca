#pragma once

namespace tern {

/// The cudaError_t of looking up a kernel of this build on the current device: it tells whether the binary holds code that
/// this GPU can run. Only in builds with CUDA.
int cuda_probe();

}  // namespace tern
