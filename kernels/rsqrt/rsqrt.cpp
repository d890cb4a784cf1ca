#include "kernels/rsqrt/rsqrt.h"

#include <cmath>

#include "kernels/common/elementwise.h"
#include "kernels/mul/mul.h"
#include "kernels/pow/pow.h"

namespace tern {
namespace {

class Rsqrt final : public UnaryOp<Rsqrt> {
 public:
  std::string_view name() const override { return "rsqrt"; }
  template <class C>
  C eval(C x) const {
    return C{1} / std::sqrt(x);
  }
  Saves saves(GradMask) const override { return {.inputs = {}, .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {mul(mul(dy[0], -0.5), pow(node.output(0), 3))};
  }
};

}  // namespace

Tensor rsqrt(const Tensor& x) { return apply_one(std::make_shared<Rsqrt>(), {x}); }

}  // namespace tern
