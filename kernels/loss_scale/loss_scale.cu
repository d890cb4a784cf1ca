#include "core/launch.cuh"
#include "kernels/loss_scale/loss_scale_rule.h"

namespace tern::cuda {
namespace {

/// One thread.
__global__ void loss_scale_kernel(float* scale, int64_t* good_steps, const float* found_inf, LossScale options) {
  move_loss_scale(*scale, *good_steps, *found_inf, options);
}

}  // namespace

void loss_scale_update(Launch& l, const LossScale& options) {
  launch(l.context, "loss_scale_update", loss_scale_kernel, 1, 1, l.out[0].data<float>(), l.out[1].data<int64_t>(),
         l.in[2].data<float>(), options);
}

}  // namespace tern::cuda
