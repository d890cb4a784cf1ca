#include "kernels/maximum/maximum.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/larger_weight.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {
void maximum(Launch& launch);  // maximum.cu
}
namespace {

class Maximum final : public BinaryOp<Maximum> {
 public:
  using BinaryOp::BinaryOp;
  static constexpr bool kIntegers = true;
  std::string_view name() const override { return "maximum"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::maximum); }
  static constexpr formula::Maximum eval{};
  void run_cuda(Launch& launch) const { cuda::maximum(launch); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(3), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor a = node.input(0), b = node.input(1);
    return {node.needs(0) ? reduce_to_input(node, 0, mul(dy[0], larger_weight(a, b))) : Tensor{},
            node.needs(1) ? reduce_to_input(node, 1, mul(dy[0], larger_weight(b, a))) : Tensor{}};
  }
};

}  // namespace

Tensor maximum(const Tensor& a, const Tensor& b) { return apply_binary<Maximum>(a, b); }

}  // namespace tern
