#pragma once
#include "core/tensor.h"

namespace tern {

enum class LossReduction { none, mean, sum };

struct CrossEntropy {
  double label_smoothing =
      0;  ///< in [0, 1]: that share of the target is spread evenly over all classes, its own included
  LossReduction reduction = LossReduction::mean;
};

/// The cross-entropy of softmax(logits) against class labels, as PyTorch defines it:
/// loss[n] = (1 - s) * -log p[label] + s * mean over classes of -log p.
///   logits [N,C]  labels i64 [N]  ->  [N] (none) or a scalar, f32 (f64 for f64). Differentiable in logits.
/// Computes in f64 (on a GPU f32, summed in f64). Reductions add lane by lane of context.lane_size() samples, each in
/// order, then in the canonical tree; the mean divides by N. Throws DataError naming row and label when a label is not
/// in 0..C-1; on a GPU the loss and the row's gradient are NaN then.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, CrossEntropy options = {});

}  // namespace tern
