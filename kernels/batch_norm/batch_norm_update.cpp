#include "core/error.h"
#include "core/op.h"
#include "kernels/batch_norm/batch_norm.h"

namespace tern {
namespace cuda {
void batch_norm_update(Launch& launch, const BatchNormUpdate& options);  // batch_norm_update.cu
}
namespace {

/// in: running_mean, running_var, num_batches, mean, var, [skip]. Overwrites the first three.
class BatchNormUpdateOp final : public OpBase<BatchNormUpdateOp> {
 public:
  explicit BatchNormUpdateOp(BatchNormUpdate options) : options_(options) {}
  std::string_view name() const override { return "batch_norm_update"; }
  bool differentiable() const override { return false; }
  int visible_outputs() const override { return 3; }
  std::optional<Alias> alias(int out, std::span<const Spec>) const override {
    return Alias{.input = out, .writes = true};
  }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::batch_norm_update(launch, options_); }

 private:
  BatchNormUpdate options_;
};

std::vector<Spec> BatchNormUpdateOp::infer(std::span<const Spec> in) const {
  const Spec& running = in[0];
  if (running.dtype != DType::f32 && running.dtype != DType::f64)
    throw_dtype(name(), "running_mean is " + std::string(name_of(running.dtype)) + ", wants f32 or f64");
  if (running.shape.rank() != 1 || in[1] != running)
    throw_shape(name(), "running_mean is " + running.str() + " and running_var " + in[1].str() +
                            ", wants two vectors of one spec");
  if (in[2].dtype != DType::i64 || in[2].numel() != 1)
    throw_shape(name(), "num_batches is " + in[2].str() + ", wants i64[1]");
  const Spec statistics{running.dtype, {options_.lanes.count(), running.shape[0]}};
  if (in[3] != statistics || in[4] != statistics)
    throw_shape(name(), "mean is " + in[3].str() + " and var " + in[4].str() + ", wants " + statistics.str());
  if (in.size() > 5 && (in[5].dtype != DType::f32 || in[5].numel() != 1))
    throw_shape(name(), "skip is " + in[5].str() + ", wants f32[1]");
  return {in[0], in[1], in[2]};
}

template <class T>
void update_lane(T* running, const T* fresh, double factor, double momentum, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c)
    running[c] = static_cast<T>(momentum * (static_cast<double>(fresh[c]) * factor) +
                                (1 - momentum) * static_cast<double>(running[c]));
}

template <class T>
void update_running(Launch& launch, const BatchNormUpdate& options) {
  const int64_t channels = launch.in[0].numel();
  int64_t& batches = *launch.out[2].data<int64_t>();
  for (int64_t lane = 0; lane < options.lanes.count(); ++lane) {
    ++batches;
    const double momentum = options.momentum ? *options.momentum : 1.0 / static_cast<double>(batches);
    const double count = static_cast<double>((options.lanes.end(lane) - options.lanes.begin(lane)) * options.positions);
    update_lane(launch.out[0].data<T>(), launch.in[3].data<T>() + lane * channels, 1.0, momentum, channels);
    update_lane(launch.out[1].data<T>(), launch.in[4].data<T>() + lane * channels, count / (count - 1), momentum,
                channels);
  }
}

void BatchNormUpdateOp::run_cpu(Launch& launch) const {
  if (launch.in.size() > 5 && *launch.in[5].data<float>() != 0.0f) return;
  if (launch.in[0].dtype() == DType::f32)
    update_running<float>(launch, options_);
  else
    update_running<double>(launch, options_);
}

}  // namespace

BatchNormUpdate batch_norm_update_of(const Tensor& x, std::optional<double> momentum) {
  return {momentum, {x.size(0), x.context().lane_size()}, x.numel() / x.size(0) / x.size(-1)};
}

void batch_norm_update(const Tensor& running_mean, const Tensor& running_var, const Tensor& num_batches,
                       const Tensor& mean, const Tensor& var, const BatchNormUpdate& options, const Tensor& skip) {
  std::vector<Tensor> inputs = {running_mean, running_var, num_batches, mean.detach(), var.detach()};
  if (skip.defined()) inputs.push_back(skip);
  tern::apply(std::make_shared<BatchNormUpdateOp>(options), inputs);
}

}  // namespace tern
