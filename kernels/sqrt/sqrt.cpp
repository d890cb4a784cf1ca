#include "kernels/sqrt/sqrt.h"

#include <cmath>

#include "kernels/common/elementwise.h"
#include "kernels/div/div.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace {

class Sqrt final : public UnaryOp<Sqrt> {
 public:
  std::string_view name() const override { return "sqrt"; }
  template <class C>
  C eval(C x) const {
    return std::sqrt(x);
  }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {div(mul(dy[0], 0.5), node.output(0))};
  }
};

}  // namespace

Tensor sqrt(const Tensor& x) { return apply_one(std::make_shared<Sqrt>(), {x}); }

}  // namespace tern
