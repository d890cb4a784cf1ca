#include "kernels/div/div.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/scalar_op.h"
#include "kernels/mul/mul.h"
#include "kernels/neg/neg.h"

namespace tern {
namespace cuda {  // div.cu
void div(Launch& launch);
void div_number(Launch& launch, double number);
void number_div(Launch& launch, double number);
}
namespace {

class Div final : public BinaryOp<Div> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "div"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::div); }
  static constexpr formula::Div eval{};
  void run_cuda(Launch& launch) const { cuda::div(launch); }
  Saves saves(GradMask needs) const override { return {.inputs = GradMask(2), .outputs = GradMask(needs[1] ? 1 : 0)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor share = div(dy[0], node.input(1));
    return {node.needs(0) ? reduce_to_input(node, 0, share) : Tensor{},
            node.needs(1) ? neg(reduce_to_input(node, 1, mul(share, node.output(0)))) : Tensor{}};
  }
};

class DivNumber final : public ScalarOp<DivNumber> {
 public:
  using ScalarOp::ScalarOp;
  std::string_view name() const override { return "div_number"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::with_number(StepCode::div, number()); }
  static constexpr formula::Div eval{};
  void run_cuda(Launch& launch) const { cuda::div_number(launch, number()); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {div(dy[0], number())}; }
};

class NumberDiv final : public ScalarOp<NumberDiv> {
 public:
  using ScalarOp::ScalarOp;
  std::string_view name() const override { return "number_div"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::number_first(StepCode::div, number()); }
  static constexpr formula::Reversed<formula::Div> eval{};
  void run_cuda(Launch& launch) const { cuda::number_div(launch, number()); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {neg(mul(div(dy[0], node.input(0)), node.output(0)))};
  }
};

}  // namespace

Tensor div(const Tensor& a, const Tensor& b) { return apply_binary<Div>(a, b); }
Tensor div(const Tensor& x, double number) { return apply_one(std::make_shared<DivNumber>(number), {x}); }
Tensor div(double number, const Tensor& x) { return apply_one(std::make_shared<NumberDiv>(number), {x}); }

}  // namespace tern
