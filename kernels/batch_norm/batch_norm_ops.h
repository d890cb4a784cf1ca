#pragma once
#include "core/autograd.h"
#include "core/op.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/max_pool2d/max_pool2d_ops.h"

/// The ops behind batch_norm.h.
namespace tern {

/// What the three ops share: which optional inputs are there, and how the batch falls into lanes.
struct BatchNormSetup {
  BatchNorm options;
  int64_t lane_size = 0;
  bool has_gamma = false;
  bool has_beta = false;
  bool training = true;

  /// Also with given statistics: the gradients of gamma and beta are summed lane by lane.
  Lanes lanes(const Shape& x) const { return {x[0], lane_size}; }
};

namespace cuda {  // batch_norm.cu, batch_norm_grad.cu
void batch_norm_train(Launch& launch, const BatchNormSetup& setup);
void max_pool_batch_norm_train(Launch& launch, const BatchNormSetup& setup, const Window& window);
void batch_norm_eval(Launch& launch, const BatchNormSetup& setup);
void batch_norm_grad(Launch& launch, const BatchNormSetup& setup);
}  // namespace cuda

/// in: x, [gamma], [beta]. out: y, mean, var.
class BatchNormTrain final : public OpBase<BatchNormTrain> {
 public:
  explicit BatchNormTrain(BatchNormSetup setup) : setup_(setup) {}
  std::string_view name() const override { return "batch_norm"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context& context) const override;
  std::vector<Tensor> decompose(std::span<const Tensor> in) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override;
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::batch_norm_train(launch, setup_); }

 private:
  BatchNormSetup setup_;
};

/// in: x, [gamma], [beta]. out: y, mean, var, the pooled values, and which pixel of its window each came from.
class MaxPoolBatchNormTrain final : public OpBase<MaxPoolBatchNormTrain> {
 public:
  MaxPoolBatchNormTrain(MaxPool2d pool, BatchNormSetup setup) : options_(pool), setup_(setup), pool_(pool, true), norm_(setup) {}
  std::string_view name() const override { return "max_pool_batch_norm"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context& context) const override;
  std::vector<Tensor> decompose(std::span<const Tensor> in) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {GradMask(0b110), GradMask(0b11110)}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::max_pool_batch_norm_train(launch, setup_, pool_.window(launch.in[0].shape())); }

 private:
  MaxPool2d options_;
  BatchNormSetup setup_;
  MaxPool2dOp pool_;
  BatchNormTrain norm_;
};

/// in: x, mean, var, [gamma], [beta]. out: y.
class BatchNormEval final : public OpBase<BatchNormEval> {
 public:
  explicit BatchNormEval(BatchNormSetup setup) : setup_(setup) {}
  std::string_view name() const override { return "batch_norm_eval"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context& context) const override;
  std::vector<Tensor> decompose(std::span<const Tensor> in) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {GradMask().set(), {}}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::batch_norm_eval(launch, setup_); }

 private:
  BatchNormSetup setup_;
};

/// in: x, dy, mean, var, [gamma], [beta]. out: dgamma, dbeta, and dx when wanted, which it must be behind a GELU: its derivative costs
/// too much to be found twice, so that dL/dz, z the value before it, waits in dx.
class BatchNormGrad final : public OpBase<BatchNormGrad> {
 public:
  BatchNormGrad(BatchNormSetup setup, bool wants_dx) : setup_(setup), wants_dx_(wants_dx) {}
  std::string_view name() const override { return "batch_norm_grad"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context& context) const override;
  int visible_outputs() const override { return wants_dx_ ? 3 : 2; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::batch_norm_grad(launch, setup_); }

 private:
  BatchNormSetup setup_;
  bool wants_dx_;
};

}  // namespace tern
