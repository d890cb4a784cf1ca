#include "kernels/clamp/clamp.h"

#include "core/error.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"

namespace tern {
namespace cuda {  // clamp.cu
void clamp(Launch& launch, const Clamp& bounds);
void clamp_backward(Launch& launch, const Clamp& bounds);
}
namespace {

class ClampOp final : public UnaryOp<ClampOp> {
 public:
  explicit ClampOp(const Clamp& bounds) : bounds_(bounds) {}
  std::string_view name() const override { return "clamp"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep{StepCode::clamp, 0, 0, bounds_.low, bounds_.high}; }
  template <class C>
  C eval(C x) const {
    return formula::Clamp{bounds_.low, bounds_.high}(x);
  }
  void run_cuda(Launch& launch) const { cuda::clamp(launch, bounds_); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;

 private:
  Clamp bounds_;
};

/// dx = dy where x is within the bounds (or NaN), else 0.
class ClampBackward final : public BinaryOp<ClampBackward> {
 public:
  explicit ClampBackward(const Clamp& bounds) : BinaryOp(0), bounds_(bounds) {}
  std::string_view name() const override { return "clamp_backward"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep{StepCode::clamp_backward, 0, 1, bounds_.low, bounds_.high}; }
  template <class C>
  C eval(C dy, C x) const {
    return formula::ClampBackward{bounds_.low, bounds_.high}(dy, x);
  }
  void run_cuda(Launch& launch) const { cuda::clamp_backward(launch, bounds_); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(2), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    if (!node.needs(0)) return {Tensor{}, Tensor{}};
    return {apply_one(std::make_shared<ClampBackward>(bounds_), {dy[0], node.input(1)}), Tensor{}};
  }

 private:
  Clamp bounds_;
};

std::vector<Tensor> ClampOp::grad(const Node& node, std::span<const Tensor> dy) const {
  return {apply_one(std::make_shared<ClampBackward>(bounds_), {dy[0], node.input(0)})};
}

}  // namespace

Tensor clamp(const Tensor& x, const Clamp& bounds) {
  if (!(bounds.low <= bounds.high))
    throw ConfigError("[clamp] low " + std::to_string(bounds.low) + " is not below high " +
                      std::to_string(bounds.high));
  return apply_one(std::make_shared<ClampOp>(bounds), {x});
}

}  // namespace tern
