#include "kernels/neg/neg.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"

namespace tern {
namespace cuda {
void neg(Launch& launch);  // neg.cu
}
namespace {

class Neg final : public UnaryOp<Neg> {
 public:
  std::string_view name() const override { return "neg"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::neg); }
  static constexpr formula::Neg eval{};
  void run_cuda(Launch& launch) const { cuda::neg(launch); }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {neg(dy[0])}; }
};

}  // namespace

Tensor neg(const Tensor& x) { return apply_one(std::make_shared<Neg>(), {x}); }

}  // namespace tern
