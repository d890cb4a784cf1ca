#pragma once
#include "core/tensor.h"
#include "kernels/common/flat_update.h"

namespace tern {

struct Sgd {
  double momentum = 0;
  bool nesterov = false;
  std::vector<UpdateSegment> segments;
};

/// The tensors of an SGD step; master, momentum and weights are updated in place. A step that found_inf skips leaves
/// everything as it was, and what no segment covers is left alone.
struct SgdState {
  Tensor master;      ///< f32 [P] parameters
  Tensor momentum;    ///< f32 [P], zeros at first; undefined where Sgd::momentum is 0
  Tensor grads;       ///< f32 [P]
  Tensor lr;          ///< f64 [G]
  Tensor grad_scale;  ///< f32 [1]
  Tensor found_inf;   ///< f32 [1]
  Tensor weights = {};  ///< f16 or bf16 [P]: gets the updated parameters, rounded; or undefined
};

/// One step of SGD over every segment, as torch.optim.SGD with dampening 0:
///   d = grad_scale * grad + decay * p;  b = momentum * b + d;  p -= lr * (nesterov ? d + momentum * b : b)
/// Where b is below the smallest normal number (1.2e-38) in size it becomes 0. Not on the tape.
/// Throws ShapeError for tensors or segments that do not fit, ConfigError for Nesterov without momentum.
/// Ref: Sutskever et al. 2013 (Nesterov), in PyTorch's form.
void sgd(const SgdState& state, const Sgd& options);

}  // namespace tern
