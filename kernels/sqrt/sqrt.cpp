#include "kernels/sqrt/sqrt.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/vector_math.h"
#include "kernels/div/div.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {
void sqrt(Launch& launch);  // sqrt.cu
}
namespace {

class Sqrt final : public UnaryOp<Sqrt> {
 public:
  std::string_view name() const override { return "sqrt"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::sqrt); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::sqrt(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::sqrt(launch); }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {div(mul(dy[0], 0.5), node.output(0))};
  }
};

}  // namespace

Tensor sqrt(const Tensor& x) { return apply_one(std::make_shared<Sqrt>(), {x}); }

}  // namespace tern
