#include "nn/batch_norm.h"

#include "core/error.h"
#include "kernels/ops.h"

namespace tern::nn {

BatchNorm::BatchNorm(Context& context, int64_t channels, BatchNormOptions options) : options_(options) {
  if (options.affine) {
    weight_ = Tensor::full(context, {channels}, 1).set_requires_grad(options.train_weight);
    bias_ = Tensor::zeros(context, {channels}).set_requires_grad();
  }
  running_mean_ = Tensor::zeros(context, {channels});
  running_var_ = Tensor::full(context, {channels}, 1);
  batches_ = Tensor::zeros(context, {}, DType::i64);
}

Tensor BatchNorm::forward(const Tensor& x) {
  const tern::BatchNorm options{.eps = options_.eps, .activation = options_.activation};
  const auto& pool = options_.pool;
  if (!training()) return batch_norm_eval(pool ? max_pool2d(x, *pool) : x, weight_, bias_, running_mean_, running_var_, options);
  const BatchNormResult result =
      pool ? max_pool_batch_norm_train(x, *pool, weight_, bias_, options) : batch_norm_train(x, weight_, bias_, options);
  positions_ = result.y.numel() / (x.size(0) * x.size(-1));
  if (x.context().defer_statistics()) {
    seen_mean_ = result.mean;
    seen_variance_ = result.var;
  } else {
    update_statistics(result.mean, result.var, {x.size(0), x.context().lane_size()}, {});
  }
  return result.y;
}

void BatchNorm::visit(Visitor& visitor) {
  visitor.parameter("weight", ParamKind::norm_weight, weight_);
  visitor.parameter("bias", ParamKind::norm_bias, bias_);
  visitor.buffer("running_mean", running_mean_);
  visitor.buffer("running_var", running_var_);
  visitor.buffer("num_batches_tracked", batches_);
}

void BatchNorm::take_statistics(std::vector<Tensor>& statistics) {
  if (!seen_mean_.defined()) throw Error("[batch_norm] no training forward since the statistics were last taken");
  statistics.push_back(std::move(seen_mean_));
  statistics.push_back(std::move(seen_variance_));
  seen_mean_ = seen_variance_ = {};
}

void BatchNorm::update_statistics(const Tensor& mean, const Tensor& variance, Lanes lanes, const Tensor& skip) {
  NoGrad guard(running_mean_.context());
  batch_norm_update(running_mean_, running_var_, batches_, mean, variance,
                    {.momentum = options_.momentum, .lanes = lanes, .positions = positions_}, skip);
}

}  // namespace tern::nn
