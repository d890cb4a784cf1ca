#include "kernels/clip_coefficient/clip_coefficient.h"

#include "core/op.h"
#include "kernels/clip_coefficient/clip_formula.h"

namespace tern {
namespace cuda {
void clip_coefficient(Launch& launch, double max_norm);  // clip_coefficient.cu
}
namespace {

class ClipCoefficientOp final : public OpBase<ClipCoefficientOp> {
 public:
  explicit ClipCoefficientOp(ClipCoefficient options) : options_(options) {}
  std::string_view name() const override { return "clip_coefficient"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    const Spec scalar{DType::f32, {1}};
    if (in[0] != scalar || in[1] != scalar)
      throw_shape(name(), "got norm " + in[0].str() + " and scale " + in[1].str() + ", wants " + scalar.str());
    return {scalar};
  }
  bool differentiable() const override { return false; }
  void run_cpu(Launch& l) const {
    *l.out[0].data<float>() =
        clip_formula(*l.in[0].data<float>(), *l.in[1].data<float>(), static_cast<float>(options_.max_norm));
  }
  void run_cuda(Launch& launch) const { cuda::clip_coefficient(launch, options_.max_norm); }

 private:
  ClipCoefficient options_;
};

}  // namespace

Tensor clip_coefficient(const Tensor& norm, const Tensor& scale, ClipCoefficient options) {
  return apply_one(std::make_shared<ClipCoefficientOp>(options), {norm, scale});
}

}  // namespace tern
