#include "kernels/gelu/gelu.h"

#include "kernels/add/add.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/vector_math.h"
#include "kernels/exp/exp.h"
#include "kernels/mul/mul.h"
#include "kernels/sub/sub.h"
#include "kernels/tanh/tanh.h"

namespace tern {
namespace cuda {  // gelu.cu
void gelu(Launch& launch, const Gelu& options);
void gelu_backward(Launch& launch, const Gelu& options);
}
namespace {

class GeluOp final : public UnaryOp<GeluOp> {
 public:
  explicit GeluOp(const Gelu& options) : options_(options) {}
  std::string_view name() const override { return "gelu"; }
  std::optional<ChainStep> chain_step() const override {
    return ChainStep::unary(options_.approximate == Gelu::tanh ? StepCode::gelu_tanh : StepCode::gelu);
  }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    options_.approximate == Gelu::tanh ? vector_math::gelu_tanh(x, y, count) : vector_math::gelu(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::gelu(launch, options_); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {gelu_backward(dy[0], node.input(0), options_)};
  }

 private:
  Gelu options_;
};

/// Second derivative of the exact form: phi(x) (2 - x^2), phi the normal density.
Tensor bend_exact(const Tensor& x) {
  constexpr double kDensityAt0 = 0.39894228040143267794;
  const Tensor square = mul(x, x);
  return mul(mul(exp(mul(square, -0.5)), kDensityAt0), sub(2.0, square));
}

/// Second derivative of x (1 + t) / 2, t = tanh(u), u = k (x + c x^3): (1 - t^2) (u' + x u''/2 - x t u'^2).
Tensor bend_tanh(const Tensor& x) {
  constexpr double k = 0.79788456080286535588, c = 0.044715;
  const Tensor square = mul(x, x);
  const Tensor t = tanh(mul(mul(x, add(mul(square, c), 1.0)), k));
  const Tensor rate = mul(add(mul(square, 3 * c), 1.0), k);
  const Tensor inner = sub(add(rate, mul(square, 3 * c * k)), mul(mul(x, t), mul(rate, rate)));
  return mul(sub(1.0, mul(t, t)), inner);
}

class GeluBackward final : public PairOp<GeluBackward> {
 public:
  explicit GeluBackward(const Gelu& options) : options_(options) {}
  std::string_view name() const override { return "gelu_backward"; }
  std::optional<ChainStep> chain_step() const override {
    return ChainStep::binary(options_.approximate == Gelu::tanh ? StepCode::gelu_tanh_backward : StepCode::gelu_backward);
  }
  template <class C>
  void eval_rows(const C* dy, const C* x, C* dx, int64_t count) const {
    options_.approximate == Gelu::tanh ? vector_math::gelu_tanh_backward(dy, x, dx, count)
                                       : vector_math::gelu_backward(dy, x, dx, count);
  }
  void run_cuda(Launch& launch) const { cuda::gelu_backward(launch, options_); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> g) const override {
    const Tensor x = node.input(1);
    std::vector<Tensor> result(2);
    if (node.needs(0)) result[0] = gelu_backward(g[0], x, options_);
    if (node.needs(1)) {
      const Tensor bend = options_.approximate == Gelu::tanh ? bend_tanh(x) : bend_exact(x);
      result[1] = mul(mul(g[0], node.input(0)), bend);
    }
    return result;
  }

 private:
  Gelu options_;
};

}  // namespace

Tensor gelu(const Tensor& x, const Gelu& options) { return apply_one(std::make_shared<GeluOp>(options), {x}); }
Tensor gelu_backward(const Tensor& dy, const Tensor& x, const Gelu& options) {
  return apply_one(std::make_shared<GeluBackward>(options), {dy, x});
}

}  // namespace tern
