#include "kernels/add/add.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/scalar_op.h"

namespace tern {
namespace cuda {  // add.cu
void add(Launch& launch);
void add_number(Launch& launch, double number);
}
namespace {

class Add final : public BinaryOp<Add> {
 public:
  using BinaryOp::BinaryOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "add"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::add); }
  static constexpr formula::Add eval{};
  void run_cuda(Launch& launch) const { cuda::add(launch); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {node.needs(0) ? reduce_to_input(node, 0, dy[0]) : Tensor{},
            node.needs(1) ? reduce_to_input(node, 1, dy[0]) : Tensor{}};
  }
};

class AddNumber final : public ScalarOp<AddNumber> {
 public:
  using ScalarOp::ScalarOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "add_number"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::with_number(StepCode::add, number()); }
  static constexpr formula::Add eval{};
  void run_cuda(Launch& launch) const { cuda::add_number(launch, number()); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {dy[0]}; }
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return apply_binary<Add>(a, b); }
Tensor add(const Tensor& x, double number) { return apply_one(std::make_shared<AddNumber>(number), {x}); }

}  // namespace tern
