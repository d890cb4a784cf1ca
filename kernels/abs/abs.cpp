#include "kernels/abs/abs.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {  // abs.cu
void abs(Launch& launch);
void sign(Launch& launch);
}
namespace {

class Abs final : public UnaryOp<Abs> {
 public:
  std::string_view name() const override { return "abs"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::abs); }
  static constexpr formula::Abs eval{};
  void run_cuda(Launch& launch) const { cuda::abs(launch); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
};

/// -1, 0 or 1; NaN stays NaN. Its own gradient is zero wherever it has one, so it is off the tape.
class Sign final : public UnaryOp<Sign> {
 public:
  std::string_view name() const override { return "sign"; }
  bool differentiable() const override { return false; }
  static constexpr formula::Sign eval{};
  void run_cuda(Launch& launch) const { cuda::sign(launch); }
};

std::vector<Tensor> Abs::grad(const Node& node, std::span<const Tensor> dy) const {
  return {mul(dy[0], apply_one(std::make_shared<Sign>(), {node.input(0)}))};
}

}  // namespace

Tensor abs(const Tensor& x) { return apply_one(std::make_shared<Abs>(), {x}); }

}  // namespace tern
