#include "kernels/sub/sub.h"

#include "kernels/add/add.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/scalar_op.h"
#include "kernels/neg/neg.h"

namespace tern {
namespace cuda {  // sub.cu
void sub(Launch& launch);
void number_sub(Launch& launch, double number);
}
namespace {

class Sub final : public BinaryOp<Sub> {
 public:
  using BinaryOp::BinaryOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "sub"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::sub); }
  static constexpr formula::Sub eval{};
  void run_cuda(Launch& launch) const { cuda::sub(launch); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {node.needs(0) ? reduce_to_input(node, 0, dy[0]) : Tensor{},
            node.needs(1) ? neg(reduce_to_input(node, 1, dy[0])) : Tensor{}};
  }
};

class NumberSub final : public ScalarOp<NumberSub> {
 public:
  using ScalarOp::ScalarOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "number_sub"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::number_first(StepCode::sub, number()); }
  static constexpr formula::Reversed<formula::Sub> eval{};
  void run_cuda(Launch& launch) const { cuda::number_sub(launch, number()); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {neg(dy[0])}; }
};

}  // namespace

Tensor sub(const Tensor& a, const Tensor& b) { return apply_binary<Sub>(a, b); }
Tensor sub(const Tensor& x, double number) { return add(x, -number); }
Tensor sub(double number, const Tensor& x) { return apply_one(std::make_shared<NumberSub>(number), {x}); }

}  // namespace tern
