#include "kernels/abs/abs.h"

#include <cmath>

#include "kernels/common/elementwise.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace {

class Abs final : public UnaryOp<Abs> {
 public:
  std::string_view name() const override { return "abs"; }
  template <class C>
  C eval(C x) const {
    return std::abs(x);
  }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
};

/// -1, 0 or 1; NaN stays NaN. Its own gradient is zero wherever it has one, so it is off the tape.
class Sign final : public UnaryOp<Sign> {
 public:
  std::string_view name() const override { return "sign"; }
  bool differentiable() const override { return false; }
  template <class C>
  C eval(C x) const {
    const C not_positive = x < C{0} ? C{-1} : x;
    return x > C{0} ? C{1} : not_positive;
  }
};

std::vector<Tensor> Abs::grad(const Node& node, std::span<const Tensor> dy) const {
  return {mul(dy[0], apply_one(std::make_shared<Sign>(), {node.input(0)}))};
}

}  // namespace

Tensor abs(const Tensor& x) { return apply_one(std::make_shared<Abs>(), {x}); }

}  // namespace tern
