#pragma once
#include "kernels/conv2d/conv2d.h"
#include "nn/module.h"

namespace tern::nn {

// Weights and biases are zero until nn::initialize() or a checkpoint fills them.

/// x [N, H, W, in] -> [N, P, Q, out]. Weight [out, R, S, in / groups] here, OIHW in weights files.
class Conv2d final : public Module {
 public:
  Conv2d(Context& context, int64_t in, int64_t out, Pair kernel, tern::Conv2d options = {}, bool bias = true);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;

 private:
  tern::Conv2d options_;
  Tensor weight_, bias_;
};

/// x [..., in] -> x W^T + b [..., out]. Weight [out, in].
class Linear final : public Module {
 public:
  Linear(Context& context, int64_t in, int64_t out, bool bias = true);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;

 private:
  Tensor weight_, bias_;
};

/// Normalises each row of the last axis. Ref: Ba, Kiros, Hinton: Layer normalization (2016).
class LayerNorm final : public Module {
 public:
  LayerNorm(Context& context, int64_t features, double eps = 1e-5);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;

 private:
  double eps_;
  Tensor weight_, bias_;
};

/// Zeroes elements with probability p in training and scales the others by 1/(1-p); keyed by (seed, step, sample,
/// layer), so the mask does not depend on threads or on the batch that a sample is in.
class Dropout final : public Module {
 public:
  Dropout(double p, uint32_t layer) : p_(p), layer_(layer) {}
  Tensor forward(const Tensor& x) override;

 private:
  double p_;
  uint32_t layer_;
};

/// A module without parameters from a function: activations, pools, flatten.
class Lambda final : public Module {
 public:
  using Function = std::function<Tensor(const Tensor&)>;
  explicit Lambda(Function f) : f_(std::move(f)) {}
  Tensor forward(const Tensor& x) override { return f_(x); }

 private:
  Function f_;
};

/// NHWC -> [N, C*H*W] in PyTorch's order, so that the weights of the layer behind it are PyTorch's; [N, ...] otherwise.
Tensor flatten_as_pytorch(const Tensor& x);

/// Modules one after another, by name.
class Sequential : public Module {
 public:
  /// Returns the module for chaining by reference. An empty name gives the module's tensors no prefix.
  Module& add(std::string name, std::unique_ptr<Module> module);
  template <class M, class... Args>
  M& emplace(std::string name, Args&&... args) {
    return static_cast<M&>(add(std::move(name), std::make_unique<M>(std::forward<Args>(args)...)));
  }
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  size_t size() const { return children_.size(); }

 private:
  struct Child {
    std::string name;
    std::unique_ptr<Module> module;
  };
  std::vector<Child> children_;
};

/// y = activation(body(x) + shortcut(x)); an empty shortcut is the identity.
/// Ref: He, Zhang, Ren, Sun: Deep residual learning (2015).
class Residual final : public Module {
 public:
  Residual(std::unique_ptr<Sequential> body, std::unique_ptr<Sequential> shortcut, Lambda::Function activation);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;

 private:
  std::unique_ptr<Sequential> body_, shortcut_;
  Lambda::Function activation_;
};

}  // namespace tern::nn
