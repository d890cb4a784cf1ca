#include "kernels/relu/relu.h"

#include "kernels/common/elementwise.h"

namespace tern {
namespace {

class Relu final : public UnaryOp<Relu> {
 public:
  std::string_view name() const override { return "relu"; }
  template <class C>
  C eval(C x) const {
    return x <= C{0} ? C{0} : x;
  }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {relu_backward(dy[0], node.output(0))};
  }
};

class ReluBackward final : public BinaryOp<ReluBackward> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "relu_backward"; }
  template <class C>
  C eval(C dy, C y) const {
    return y <= C{0} ? C{0} : dy;
  }
  Saves saves(GradMask) const override { return {.inputs = GradMask(2), .outputs = {}}; }
  // Piecewise linear: y's own gradient is zero.
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {node.needs(0) ? relu_backward(dy[0], node.input(1)) : Tensor{}, Tensor{}};
  }
};

}  // namespace

Tensor relu(const Tensor& x) { return apply_one(std::make_shared<Relu>(), {x}); }
Tensor relu_backward(const Tensor& dy, const Tensor& y) { return apply_binary<ReluBackward>(dy, y); }

}  // namespace tern
