#include "core/launch.cuh"
#include "kernels/clip_coefficient/clip_formula.h"

namespace tern::cuda {
namespace {

/// One thread: both numbers are made on the device and stay there.
__global__ void clip_coefficient_kernel(const float* norm, const float* scale, float max_norm, float* out) {
  *out = clip_formula(*norm, *scale, max_norm);
}

}  // namespace

void clip_coefficient(Launch& launch, double max_norm) {
  cuda::launch(launch.context, "clip_coefficient", clip_coefficient_kernel, 1, 1, launch.in[0].data<float>(),
               launch.in[1].data<float>(), static_cast<float>(max_norm), launch.out[0].data<float>());
}

}  // namespace tern::cuda
