#include "kernels/batch_norm/batch_norm.h"

#include "core/error.h"
#include "kernels/batch_norm/batch_norm_ops.h"
#include "kernels/common/parameter.h"
#include "kernels/gelu/gelu.h"
#include "kernels/relu/relu.h"

namespace tern {
namespace {

/// Checks x and the optional gamma and beta that follow from index `first` on.
void check_common(std::string_view op, const BatchNormSetup& setup, std::span<const Spec> in, size_t first) {
  const Spec& x = in[0];
  if (!is_floating(x.dtype)) throw_not_floating(op, x.dtype);
  if (x.shape.rank() < 2) throw_shape(op, "x is " + x.shape.str() + ", wants at least 2 axes");
  if (x.numel() == 0) throw_shape(op, "x " + x.shape.str() + " is empty");
  const Shape channels{x.shape[-1]};
  if (setup.has_gamma) check_parameter(op, "gamma", in[first++], channels, x.dtype);
  if (setup.has_beta) check_parameter(op, "beta", in[first], channels, x.dtype);
}

void check_options(const BatchNorm& options) {
  if (!(options.eps >= 0))
    throw ConfigError("[batch_norm] eps is " + std::to_string(options.eps) + ", wants 0 or more");
}

BatchNormSetup make_setup(const Tensor& x, const Tensor& gamma, const Tensor& beta, BatchNorm options, bool training) {
  check_options(options);
  const int64_t lane_size = x.defined() ? x.context().lane_size() : 0;
  return {options, lane_size, gamma.defined(), beta.defined(), training};
}

std::vector<Tensor> with_affine(std::vector<Tensor> inputs, const Tensor& gamma, const Tensor& beta) {
  if (gamma.defined()) inputs.push_back(gamma);
  if (beta.defined()) inputs.push_back(beta);
  return inputs;
}

BatchNormSetup without_activation(BatchNormSetup setup) {
  setup.options.activation = Activation::none;
  return setup;
}

/// The pooled values in the place of x.
template <class T>
std::vector<T> inputs_of_norm(const T& pooled, std::span<const T> in) {
  std::vector<T> inputs = {pooled};
  inputs.insert(inputs.end(), in.begin() + 1, in.end());
  return inputs;
}

Tensor activated(const Tensor& z, Activation activation) { return activation == Activation::relu ? relu(z) : gelu(z); }

/// Gradients for a node whose inputs are x, `before_affine - 1` statistics, [gamma], [beta]; in the first's place that of the
/// `normalized` values.
std::vector<Tensor> affine_grad(const BatchNormSetup& setup, const Node& node, const Tensor& normalized, const Tensor& dy,
                                const Tensor& mean, const Tensor& var, int before_affine) {
  std::vector<Tensor> result(static_cast<size_t>(node.input_count()));
  if (!dy.defined()) return result;
  std::vector<Tensor> inputs = {normalized, dy, mean, var};
  for (int i = before_affine; i < node.input_count(); ++i) inputs.push_back(node.input(i));
  const bool wants_dx = node.needs(0) || setup.options.activation == Activation::gelu;  // dz lies in its place
  const std::vector<Tensor> grads = tern::apply(std::make_shared<BatchNormGrad>(setup, wants_dx), inputs);
  if (node.needs(0)) result[0] = grads[2];
  size_t at = static_cast<size_t>(before_affine);
  if (setup.has_gamma) result[at++] = grads[0];
  if (setup.has_beta) result[at] = grads[1];
  return result;
}

}  // namespace

std::vector<Spec> BatchNormTrain::infer(std::span<const Spec> in) const {
  check_common(name(), setup_, in, 1);
  const Shape& x = in[0].shape;
  const Lanes lanes = setup_.lanes(x);
  const int64_t positions = x.numel() / x[0] / x[-1];
  for (int64_t lane = 0; lane < lanes.count(); ++lane)
    if ((lanes.end(lane) - lanes.begin(lane)) * positions == 1)
      throw_shape(name(), "training wants more than one value a channel in each lane, got x " + x.str() +
                              " in lanes of " + std::to_string(lanes.size));
  const Spec statistics{compute_dtype(in[0].dtype), {lanes.count(), x[-1]}};
  return {in[0], statistics, statistics};
}

std::vector<Tensor> BatchNormTrain::decompose(std::span<const Tensor> in) const {
  if (setup_.options.activation == Activation::none) return {};
  std::vector<Tensor> outputs = tern::apply(std::make_shared<BatchNormTrain>(without_activation(setup_)), in);
  outputs[0] = activated(outputs[0], setup_.options.activation);
  return outputs;
}

Saves BatchNormTrain::saves(GradMask) const { return {GradMask().set(), GradMask(0b110)}; }

std::vector<Tensor> BatchNormTrain::grad(const Node& node, std::span<const Tensor> dy) const {
  return affine_grad(setup_, node, node.input(0), dy[0], node.output(1), node.output(2), 1);
}

std::vector<Spec> MaxPoolBatchNormTrain::infer(std::span<const Spec> in) const {
  const std::vector<Spec> pooled = pool_.infer(in);
  std::vector<Spec> out = norm_.infer(inputs_of_norm(pooled[0], in));
  out.insert(out.end(), pooled.begin(), pooled.end());
  return out;
}

size_t MaxPoolBatchNormTrain::workspace(std::span<const Spec> in, Context& context) const {
  return norm_.workspace(inputs_of_norm(pool_.infer(in)[0], in), context);
}

std::vector<Tensor> MaxPoolBatchNormTrain::decompose(std::span<const Tensor> in) const {
  return tern::apply(std::make_shared<BatchNormTrain>(setup_), inputs_of_norm(max_pool2d(in[0], options_), in));
}

void MaxPoolBatchNormTrain::run_cpu(Launch& launch) const {
  Launch pool{launch.context, launch.in.first(1), launch.out.subspan(3), {}};
  pool_.run_cpu(pool);
  const std::vector<Tensor> inputs = inputs_of_norm(launch.out[3], launch.in);
  Launch norm{launch.context, inputs, launch.out.first(3), launch.workspace};
  norm_.run_cpu(norm);
}

std::vector<Tensor> MaxPoolBatchNormTrain::grad(const Node& node, std::span<const Tensor> dy) const {
  std::vector<Tensor> grads = affine_grad(setup_, node, node.output(3), dy[0], node.output(1), node.output(2), 1);
  const Spec& x = node.input_spec(0);
  if (grads[0].defined())
    grads[0] = apply_one(std::make_shared<MaxPool2dGrad>(pool_.window(x.shape), x.dtype), {grads[0], node.output(4)});
  return grads;
}

std::vector<Spec> BatchNormEval::infer(std::span<const Spec> in) const {
  check_common(name(), setup_, in, 3);
  for (size_t i = 1; i <= 2; ++i) {
    const Spec wanted{compute_dtype(in[0].dtype), {in[0].shape[-1]}};
    if (in[i] != wanted)
      throw_shape(name(), (i == 1 ? "running_mean is " : "running_var is ") + in[i].str() + ", wants " + wanted.str());
  }
  return {in[0]};
}

std::vector<Tensor> BatchNormEval::decompose(std::span<const Tensor> in) const {
  if (setup_.options.activation == Activation::none) return {};
  return {activated(tern::apply(std::make_shared<BatchNormEval>(without_activation(setup_)), in)[0], setup_.options.activation)};
}

std::vector<Tensor> BatchNormEval::grad(const Node& node, std::span<const Tensor> dy) const {
  return affine_grad(setup_, node, node.input(0), dy[0], node.input(1), node.input(2), 3);
}

std::vector<Spec> BatchNormGrad::infer(std::span<const Spec> in) const {
  check_common(name(), setup_, in, 4);
  if (in[0] != in[1]) throw_shape(name(), "x is " + in[0].str() + " but dy is " + in[1].str());
  const Shape channels{in[0].shape[-1]};
  const DType statistics = compute_dtype(in[0].dtype);
  std::vector<Spec> out = {{setup_.has_gamma ? in[4].dtype : statistics, channels},
                           {setup_.has_beta ? in[setup_.has_gamma ? 5 : 4].dtype : statistics, channels}};
  if (wants_dx_) out.push_back(in[0]);
  return out;
}

BatchNormResult batch_norm_train(const Tensor& x, const Tensor& gamma, const Tensor& beta, BatchNorm options) {
  const BatchNormSetup setup = make_setup(x, gamma, beta, options, true);
  const std::vector<Tensor> out = tern::apply(std::make_shared<BatchNormTrain>(setup), with_affine({x}, gamma, beta));
  return {out[0], out[1], out[2]};
}

BatchNormResult max_pool_batch_norm_train(const Tensor& x, const MaxPool2d& pool, const Tensor& gamma, const Tensor& beta,
                                          BatchNorm options) {
  const BatchNormSetup setup = make_setup(x, gamma, beta, options, true);
  const std::vector<Tensor> out = tern::apply(std::make_shared<MaxPoolBatchNormTrain>(pool, setup), with_affine({x}, gamma, beta));
  return {out[0], out[1], out[2]};
}

Tensor batch_norm_eval(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                       const Tensor& running_var, BatchNorm options) {
  const BatchNormSetup setup = make_setup(x, gamma, beta, options, false);
  // The running statistics are no part of the tape: a gradient through them would be that of an average over the past.
  return tern::apply(std::make_shared<BatchNormEval>(setup),
                     with_affine({x, running_mean.detach(), running_var.detach()}, gamma, beta))[0];
}

}  // namespace tern
