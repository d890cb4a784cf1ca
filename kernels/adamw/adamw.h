#pragma once
#include "core/tensor.h"
#include "kernels/common/flat_update.h"

namespace tern {

struct AdamW {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  std::vector<UpdateSegment> segments;
};

/// The tensors of an AdamW step; all but grads, lr, grad_scale and found_inf are updated in place; a step
/// that found_inf skips leaves everything as it was, and what no segment covers is left alone.
struct AdamWState {
  Tensor master;      ///< f32 [P] parameters
  Tensor m, v;        ///< f32 [P] moments, zeros at first
  Tensor step;        ///< f64 [1] steps taken, 0 at first; a skipped step is not counted
  Tensor grads;       ///< f32 [P]
  Tensor lr;          ///< f64 [G]
  Tensor grad_scale;  ///< f32 [1]
  Tensor found_inf;   ///< f32 [1]
  Tensor weights = {};  ///< f16 or bf16 [P]: gets the updated parameters, rounded; or undefined
};

/// One step of AdamW over every segment, with PyTorch's order of operations (torch.optim.AdamW, single tensor):
///   g = grad_scale * grad;  p *= 1 - lr * decay;  m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g g
///   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// Where m or v is below the smallest normal number (1.2e-38) in size it becomes 0. Not on the tape.
/// Throws ShapeError for tensors or segments that do not fit.
/// Ref: Loshchilov, Hutter 2019, arXiv:1711.05101.
void adamw(const AdamWState& state, const AdamW& options);

}  // namespace tern
