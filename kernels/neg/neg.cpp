#include "kernels/neg/neg.h"

#include "kernels/common/elementwise.h"

namespace tern {
namespace {

class Neg final : public UnaryOp<Neg> {
 public:
  std::string_view name() const override { return "neg"; }
  template <class C>
  C eval(C x) const {
    return -x;
  }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {neg(dy[0])}; }
};

}  // namespace

Tensor neg(const Tensor& x) { return apply_one(std::make_shared<Neg>(), {x}); }

}  // namespace tern
