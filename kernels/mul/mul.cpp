#include "kernels/mul/mul.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/scalar_op.h"

namespace tern {
namespace cuda {  // mul.cu
void mul(Launch& launch);
void mul_number(Launch& launch, double number);
}
namespace {

class Mul final : public BinaryOp<Mul> {
 public:
  using BinaryOp::BinaryOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "mul"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::mul); }
  static constexpr formula::Mul eval{};
  void run_cuda(Launch& launch) const { cuda::mul(launch); }
  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {node.needs(0) ? reduce_to_input(node, 0, mul(dy[0], node.input(1))) : Tensor{},
            node.needs(1) ? reduce_to_input(node, 1, mul(dy[0], node.input(0))) : Tensor{}};
  }
};

class MulNumber final : public ScalarOp<MulNumber> {
 public:
  using ScalarOp::ScalarOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "mul_number"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::with_number(StepCode::mul, number()); }
  static constexpr formula::Mul eval{};
  void run_cuda(Launch& launch) const { cuda::mul_number(launch, number()); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {mul(dy[0], number())}; }
};

}  // namespace

Tensor mul(const Tensor& a, const Tensor& b) { return apply_binary<Mul>(a, b); }
Tensor mul(const Tensor& x, double number) { return apply_one(std::make_shared<MulNumber>(number), {x}); }

}  // namespace tern
