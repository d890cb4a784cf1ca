#pragma once
#include <optional>
#include <vector>

#include "core/lanes.h"
#include "core/tensor.h"
#include "kernels/common/activation.h"
#include "kernels/max_pool2d/max_pool2d.h"

/// Batch normalisation over all axes but the last. Ref: Ioffe, Szegedy: Batch normalization (2015).
namespace tern {

struct BatchNorm {
  double eps = 1e-5;
  Activation activation = Activation::none;
};

struct BatchNormResult {
  Tensor y;
  Tensor mean;  ///< [L,C], f32 (f64 for f64): of each lane
  Tensor var;   ///< [L,C], biased: sum of squared deviations / count
};

/// y = (x - mean) / sqrt(var + eps) * gamma + beta with the statistics of x itself: each lane of context.lane_size()
/// samples has its own (D5), so a folded batch gives the bits of its lanes run one after another.
///   x [N,..,C] of any rank from 2, gamma and beta [C] of x's dtype or f32, or undefined: 1 and 0.
/// Statistics accumulate in f64 over short f32 sums. The gradient of gamma and beta is summed over lanes in the
/// canonical tree. Running statistics are the caller's: see batch_norm_update. The bits are those of the activation as an op of
/// its own, which only writes and reads more.
/// Throws ShapeError when a lane has one value a channel.
BatchNormResult batch_norm_train(const Tensor& x, const Tensor& gamma, const Tensor& beta, BatchNorm options = {});

/// batch_norm_train of max_pool2d(x, pool), bit by bit. A GPU finds the statistics while it has the pooled values in registers.
BatchNormResult max_pool_batch_norm_train(const Tensor& x, const MaxPool2d& pool, const Tensor& gamma, const Tensor& beta,
                                          BatchNorm options = {});

/// batch_norm_train with given statistics, f32 (f64) [C]: inference, or frozen statistics. Differentiable in x, gamma and beta.
Tensor batch_norm_eval(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                       const Tensor& running_var, BatchNorm options = {});

struct BatchNormUpdate {
  std::optional<double> momentum = 0.1;  ///< weight of the new value; null: all batches weigh the same
  Lanes lanes;                           ///< samples, and how they fell into lanes
  int64_t positions = 1;                 ///< values a sample has in a channel: H * W
};

/// The options whose lanes and positions are those that batch_norm_train(x, ...) uses in this context.
BatchNormUpdate batch_norm_update_of(const Tensor& x, std::optional<double> momentum);

/// Updates the running statistics in place, as PyTorch's BatchNorm does in one forward pass a lane, lane 0 first:
/// running = (1 - momentum) * running + momentum * new, with the unbiased variance; num_batches += L.
///   running_mean, running_var f32 (f64) [C], num_batches i64 with one element, mean and var [L,C]
///   skip: undefined, or f32 [1]: nonzero leaves everything as it was (a step that is not finite). Not differentiable.
void batch_norm_update(const Tensor& running_mean, const Tensor& running_var, const Tensor& num_batches,
                       const Tensor& mean, const Tensor& var, const BatchNormUpdate& options, const Tensor& skip = {});

}  // namespace tern
