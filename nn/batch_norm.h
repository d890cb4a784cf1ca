#pragma once
#include <optional>

#include "core/lanes.h"
#include "kernels/common/activation.h"
#include "kernels/max_pool2d/max_pool2d.h"
#include "nn/module.h"

namespace tern::nn {

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;     ///< PyTorch's: running = (1 - momentum) * running + momentum * batch
  bool affine = true;        ///< weight and bias
  bool train_weight = true;  ///< false: the weight stays 1
  std::optional<MaxPool2d> pool;             ///< of the input, before it is normalised; fused
  Activation activation = Activation::none;  ///< of the normalised values, fused
};

/// Batch normalisation over the last axis: x [..., C]. Training normalises every lane by its own mean and biased
/// variance and moves the running statistics by the unbiased one, as PyTorch's BatchNorm1d/2d does over a micro-batch.
/// Ref: Ioffe, Szegedy: Batch normalization (2015).
class BatchNorm final : public Module {
 public:
  BatchNorm(Context& context, int64_t channels, BatchNormOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;

  /// Appends mean and biased variance [lanes, C] that the last training forward saw.
  void take_statistics(std::vector<Tensor>& statistics);
  /// Moves the running statistics by those of `lanes`; `skip` f32 [1], not zero: leaves them. May be undefined.
  void update_statistics(const Tensor& mean, const Tensor& variance, Lanes lanes, const Tensor& skip);

 private:
  BatchNormOptions options_;
  Tensor weight_, bias_;                         // [C], or undefined
  Tensor running_mean_, running_var_, batches_;  // [C], [C], i64 []
  Tensor seen_mean_, seen_variance_;  // [lanes, C], until taken
  int64_t positions_ = 1;             // H * W of the last input
};

}  // namespace tern::nn
