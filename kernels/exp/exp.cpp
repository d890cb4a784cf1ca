#include "kernels/exp/exp.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/vector_math.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {
void exp(Launch& launch);  // exp.cu
}
namespace {

class Exp final : public UnaryOp<Exp> {
 public:
  std::string_view name() const override { return "exp"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::exp); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::exp(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::exp(launch); }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {mul(dy[0], node.output(0))};
  }
};

}  // namespace

Tensor exp(const Tensor& x) { return apply_one(std::make_shared<Exp>(), {x}); }

}  // namespace tern
