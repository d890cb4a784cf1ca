#include "kernels/tanh/tanh.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/vector_math.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {  // tanh.cu
void tanh(Launch& launch);
void tanh_backward(Launch& launch);
}
namespace {

class Tanh final : public UnaryOp<Tanh> {
 public:
  std::string_view name() const override { return "tanh"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::tanh); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::tanh(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::tanh(launch); }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {tanh_backward(dy[0], node.output(0))};
  }
};

class TanhBackward final : public BinaryOp<TanhBackward> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "tanh_backward"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::binary(StepCode::tanh_backward); }
  static constexpr formula::TanhBackward eval{};
  void run_cuda(Launch& launch) const { cuda::tanh_backward(launch); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> g) const override {
    const Tensor y = node.input(1);
    return {node.needs(0) ? tanh_backward(g[0], y) : Tensor{},
            node.needs(1) ? mul(mul(g[0], node.input(0)), mul(y, -2.0)) : Tensor{}};
  }
};

}  // namespace

Tensor tanh(const Tensor& x) { return apply_one(std::make_shared<Tanh>(), {x}); }
Tensor tanh_backward(const Tensor& dy, const Tensor& y) { return apply_binary<TanhBackward>(dy, y); }

}  // namespace tern
