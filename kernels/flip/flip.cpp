#include "kernels/flip/flip.h"

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/blocks.h"
#include "kernels/common/check.h"

namespace tern {
namespace cuda {
void flip(Launch& launch, int axis);  // flip.cu
}
namespace {

class Flip final : public OpBase<Flip> {
 public:
  explicit Flip(int axis) : axis_(axis) {}
  std::string_view name() const override { return "flip"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    return {in[0]};
  }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {flip(dy[0], {axis_})}; }

  void run_cuda(Launch& l) const { cuda::flip(l, axis_); }

  void run_cpu(Launch& l) const {
    const AxisView x = axis_view(l.in[0].shape(), axis_);
    const int64_t inner = x.inner * static_cast<int64_t>(size_of(l.in[0].dtype()));
    const auto* from = static_cast<const std::byte*>(l.in[0].raw());
    auto* to = static_cast<std::byte*>(l.out[0].raw());
    move_rows(l.context, x.outer, x.extent * inner, [&](int64_t row) {
      for (int64_t i = 0; i < x.extent; ++i)
        copy_bytes(to + (row * x.extent + i) * inner, from + ((row + 1) * x.extent - 1 - i) * inner, inner);
    });
  }

 private:
  int axis_;
};

}  // namespace

Tensor flip(const Tensor& x, std::initializer_list<int> axes) {
  Tensor y = x;
  for (int axis : axes) y = apply_one(std::make_shared<Flip>(x.shape().normalize_axis(axis)), {y});
  return y;
}

}  // namespace tern
