#include "kernels/relu/relu.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"

namespace tern {
namespace cuda {  // relu.cu
void relu(Launch& launch);
void relu_backward(Launch& launch);
}
namespace {

class Relu final : public UnaryOp<Relu> {
 public:
  std::string_view name() const override { return "relu"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::relu); }
  static constexpr formula::Relu eval{};
  void run_cuda(Launch& launch) const { cuda::relu(launch); }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {relu_backward(dy[0], node.output(0))};
  }
};

class ReluBackward final : public BinaryOp<ReluBackward> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "relu_backward"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::relu_backward); }
  static constexpr formula::ReluBackward eval{};
  void run_cuda(Launch& launch) const { cuda::relu_backward(launch); }
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
