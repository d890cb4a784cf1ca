#include "kernels/rsqrt/rsqrt.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/vector_math.h"
#include "kernels/mul/mul.h"
#include "kernels/pow/pow.h"

namespace tern {
namespace cuda {
void rsqrt(Launch& launch);  // rsqrt.cu
}
namespace {

class Rsqrt final : public UnaryOp<Rsqrt> {
 public:
  std::string_view name() const override { return "rsqrt"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::rsqrt); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::rsqrt(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::rsqrt(launch); }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {mul(mul(dy[0], -0.5), pow(node.output(0), 3))};
  }
};

}  // namespace

Tensor rsqrt(const Tensor& x) { return apply_one(std::make_shared<Rsqrt>(), {x}); }

}  // namespace tern
