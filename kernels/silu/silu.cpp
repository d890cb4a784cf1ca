#include "kernels/silu/silu.h"

#include "kernels/add/add.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/vector_math.h"
#include "kernels/mul/mul.h"
#include "kernels/sigmoid/sigmoid.h"
#include "kernels/sub/sub.h"

namespace tern {
namespace cuda {  // silu.cu
void silu(Launch& launch);
void silu_backward(Launch& launch);
}
namespace {

class Silu final : public UnaryOp<Silu> {
 public:
  std::string_view name() const override { return "silu"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::silu); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::silu(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::silu(launch); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {silu_backward(dy[0], node.input(0))};
  }
};

class SiluBackward final : public PairOp<SiluBackward> {
 public:
  std::string_view name() const override { return "silu_backward"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::silu_backward); }
  template <class C>
  void eval_rows(const C* dy, const C* x, C* dx, int64_t count) const {
    vector_math::silu_backward(dy, x, dx, count);
  }
  void run_cuda(Launch& launch) const { cuda::silu_backward(launch); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> g) const override {
    const Tensor x = node.input(1);
    std::vector<Tensor> result(2);
    if (node.needs(0)) result[0] = silu_backward(g[0], x);
    if (node.needs(1)) {  // the second derivative, s (1 - s) (2 + x (1 - 2 s))
      const Tensor s = sigmoid(x);
      const Tensor bend = add(mul(x, add(mul(s, -2.0), 1.0)), 2.0);
      result[1] = mul(mul(g[0], node.input(0)), mul(mul(s, sub(1.0, s)), bend));
    }
    return result;
  }
};

}  // namespace

Tensor silu(const Tensor& x) { return apply_one(std::make_shared<Silu>(), {x}); }
Tensor silu_backward(const Tensor& dy, const Tensor& x) { return apply_one(std::make_shared<SiluBackward>(), {dy, x}); }

}  // namespace tern
