#include "nn/layers.h"

#include "kernels/ops.h"

namespace tern::nn {

Conv2d::Conv2d(Context& context, int64_t in, int64_t out, Pair kernel, tern::Conv2d options, bool bias) : options_(options) {
  weight_ = Tensor::zeros(context, {out, kernel.h, kernel.w, in / options.groups}).set_requires_grad();
  if (bias) bias_ = Tensor::zeros(context, {out}).set_requires_grad();
}

Tensor Conv2d::forward(const Tensor& x) {
  return bias_.defined() ? conv2d(x, weight_, bias_, options_) : conv2d(x, weight_, options_);
}

void Conv2d::visit(Visitor& visitor) {
  visitor.parameter("weight", ParamKind::conv_weight, weight_);
  visitor.parameter("bias", ParamKind::bias, bias_);
}

Linear::Linear(Context& context, int64_t in, int64_t out, bool bias) {
  weight_ = Tensor::zeros(context, {out, in}).set_requires_grad();
  if (bias) bias_ = Tensor::zeros(context, {out}).set_requires_grad();
}

Tensor Linear::forward(const Tensor& x) { return bias_.defined() ? linear(x, weight_, bias_) : linear(x, weight_); }

void Linear::visit(Visitor& visitor) {
  visitor.parameter("weight", ParamKind::linear_weight, weight_);
  visitor.parameter("bias", ParamKind::bias, bias_);
}

LayerNorm::LayerNorm(Context& context, int64_t features, double eps) : eps_(eps) {
  weight_ = Tensor::full(context, {features}, 1).set_requires_grad();
  bias_ = Tensor::zeros(context, {features}).set_requires_grad();
}

Tensor LayerNorm::forward(const Tensor& x) { return layer_norm(x, weight_, bias_, {.eps = eps_}); }

void LayerNorm::visit(Visitor& visitor) {
  visitor.parameter("weight", ParamKind::norm_weight, weight_);
  visitor.parameter("bias", ParamKind::norm_bias, bias_);
}

Tensor Dropout::forward(const Tensor& x) {
  if (!training() || p_ == 0) return x;
  return dropout(x, {.p = p_, .layer = layer_});
}

Tensor flatten_as_pytorch(const Tensor& x) {
  const Shape& shape = x.shape();
  if (shape.rank() != 4 || (shape[1] == 1 && shape[2] == 1)) return reshape(x, {shape[0], -1});
  return reshape(permute(x, {0, 3, 1, 2}), {shape[0], -1});
}

Module& Sequential::add(std::string name, std::unique_ptr<Module> module) {
  children_.push_back({std::move(name), std::move(module)});
  return *children_.back().module;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (Child& child : children_) y = child.module->forward(y);
  return y;
}

void Sequential::visit(Visitor& visitor) {
  for (Child& child : children_) visitor.child(child.name, *child.module);
}

Residual::Residual(std::unique_ptr<Sequential> body, std::unique_ptr<Sequential> shortcut, Lambda::Function activation)
    : body_(std::move(body)), shortcut_(std::move(shortcut)), activation_(std::move(activation)) {}

Tensor Residual::forward(const Tensor& x) {
  const Tensor sum = add(body_->forward(x), shortcut_->forward(x));
  return activation_ ? activation_(sum) : sum;
}

void Residual::visit(Visitor& visitor) {
  visitor.child("", *body_);
  visitor.child("", *shortcut_);
}

}  // namespace tern::nn
