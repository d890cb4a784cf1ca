#include <cuda_runtime_api.h>

#include "core/cuda_probe.h"

namespace tern {

__global__ void probe_kernel() {}

int cuda_probe() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, probe_kernel);
}

}  // namespace tern
