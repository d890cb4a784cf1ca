#include "kernels/sigmoid/sigmoid.h"

#include "kernels/add/add.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/vector_math.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {  // sigmoid.cu
void sigmoid(Launch& launch);
void sigmoid_backward(Launch& launch);
}
namespace {

class Sigmoid final : public UnaryOp<Sigmoid> {
 public:
  std::string_view name() const override { return "sigmoid"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::sigmoid); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::sigmoid(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::sigmoid(launch); }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {sigmoid_backward(dy[0], node.output(0))};
  }
};

class SigmoidBackward final : public BinaryOp<SigmoidBackward> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "sigmoid_backward"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::sigmoid_backward); }
  static constexpr formula::SigmoidBackward eval{};
  void run_cuda(Launch& launch) const { cuda::sigmoid_backward(launch); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> g) const override {
    const Tensor y = node.input(1);
    return {node.needs(0) ? sigmoid_backward(g[0], y) : Tensor{},
            node.needs(1) ? mul(mul(g[0], node.input(0)), add(mul(y, -2.0), 1.0)) : Tensor{}};
  }
};

}  // namespace

Tensor sigmoid(const Tensor& x) { return apply_one(std::make_shared<Sigmoid>(), {x}); }
Tensor sigmoid_backward(const Tensor& dy, const Tensor& y) { return apply_binary<SigmoidBackward>(dy, y); }

}  // namespace tern
