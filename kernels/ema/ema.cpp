#include "kernels/ema/ema.h"

#include "core/op.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace cuda {
void ema(Launch& launch);  // ema.cu
}
namespace {

class Ema final : public OpBase<Ema> {
 public:
  std::string_view name() const override { return "ema"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    if (in[0].dtype != DType::f32 || in[0] != in[1])
      throw_shape(name(), "got average " + in[0].str() + " and x " + in[1].str() + ", wants two f32 of one shape");
    if (in[2] != Spec{DType::f64, {1}}) throw_shape(name(), "decay is " + in[2].str() + ", wants f64[1]");
    return {in[0]};
  }
  std::optional<Alias> alias(int, std::span<const Spec>) const override { return Alias{.input = 0, .writes = true}; }
  bool differentiable() const override { return false; }
  void run_cuda(Launch& launch) const { cuda::ema(launch); }
  void run_cpu(Launch& l) const {
    const double decay = l.in[2].data<double>()[0];
    const auto keep = static_cast<float>(decay), take = static_cast<float>(1 - decay);
    const float* x = l.in[1].data<float>();
    float* average = l.out[0].data<float>();
    for_chunks(l.context, l.out[0].numel(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) average[i] = keep * average[i] + take * x[i];
    });
  }
};

}  // namespace

void ema(const Tensor& average, const Tensor& x, const Tensor& decay) {
  NoGrad guard(average.context());
  apply_one(std::make_shared<Ema>(), {average, x, decay});
}

}  // namespace tern
