#include "kernels/adamw/adamw.h"

#include "core/op.h"
#include "kernels/adamw/adamw_factors.h"
#include "kernels/common/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw/adamw.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/common/for_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void adamw_f32(float* master, float* m, float* v, const float* grads, int64_t count, const AdamWFactors& f) {
  const hn::ScalableTag<float> d;
  const auto grad_scale = hn::Set(d, f.grad_scale), keep = hn::Set(d, f.keep), beta2 = hn::Set(d, f.beta2);
  const auto one_minus_beta1 = hn::Set(d, f.one_minus_beta1), one_minus_beta2 = hn::Set(d, f.one_minus_beta2);
  const auto root_correction2 = hn::Set(d, f.root_correction2), eps = hn::Set(d, f.eps);
  const auto minus_step_size = hn::Set(d, f.minus_step_size);
  for_vectors<3>({master, m, v}, grads, count, [&](const std::array<float*, 3>& p, const float* grad) {
    const auto g = hn::Mul(hn::LoadU(d, grad), grad_scale);
    const auto old_m = hn::LoadU(d, p[1]);
    const auto new_m = without_denormals(d, hn::MulAdd(one_minus_beta1, hn::Sub(g, old_m), old_m));
    const auto new_v = without_denormals(d, hn::Add(hn::Mul(hn::LoadU(d, p[2]), beta2), hn::Mul(hn::Mul(one_minus_beta2, g), g)));
    const auto denominator = hn::Add(hn::Div(hn::Sqrt(new_v), root_correction2), eps);
    const auto decayed = hn::Mul(hn::LoadU(d, p[0]), keep);
    hn::StoreU(hn::Add(decayed, hn::Div(hn::Mul(minus_step_size, new_m), denominator)), d, p[0]);
    hn::StoreU(new_m, d, p[1]);
    hn::StoreU(new_v, d, p[2]);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace cuda {
void adamw(Launch& launch, const AdamW& options);  // adamw.cu
}
namespace {

HWY_EXPORT(adamw_f32);

/// in, in AdamWState's order; out: master, m, v, step and perhaps the weights.
class AdamWOp final : public OpBase<AdamWOp> {
 public:
  AdamWOp(const AdamW& options, bool has_weights) : options_(options), has_weights_(has_weights) {}

  std::string_view name() const override { return "adamw"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    const Spec arenas[] = {in[0], in[1], in[2], in[4]};
    check_flat_update(name(), arenas, in[5], in[6], in[7], options_.segments);
    if (in[3] != Spec{DType::f64, {1}}) throw_shape(name(), "step is " + in[3].str() + ", wants f64[1]");
    std::vector<Spec> out{in[0], in[1], in[2], in[3]};
    if (has_weights_) {
      check_flat_weights(name(), in[8], in[0]);
      out.push_back(in[8]);
    }
    return out;
  }
  std::optional<Alias> alias(int out, std::span<const Spec>) const override { 
    return Alias{.input = out < 4 ? out : 8, .writes = true};
  }
  int visible_outputs() const override { return has_weights_ ? 5 : 4; }
  bool differentiable() const override { return false; }

  size_t workspace(std::span<const Spec>, Context& context) const override {
    return context.device().kind == Device::Kind::cuda ? options_.segments.size() * sizeof(AdamWFactors) : 0;
  }
  void run_cuda(Launch& launch) const { cuda::adamw(launch, options_); }

  void run_cpu(Launch& l) const {
    if (l.in[7].data<float>()[0] != 0) return;
    double& step = *l.out[3].data<double>();
    step += 1;
    for (const UpdateSegment& segment : options_.segments) {
      const AdamWFactors factors =
          adamw_factors(options_.beta1, options_.beta2, options_.eps, segment.weight_decay, step,
                        l.in[5].data<double>()[segment.group], l.in[6].data<float>()[0]);
      for_chunks(l.context, segment.end - segment.begin, [&](int64_t begin, int64_t end) {
        const int64_t at = segment.begin + begin;
        HWY_DYNAMIC_DISPATCH(adamw_f32)(l.out[0].data<float>() + at, l.out[1].data<float>() + at, l.out[2].data<float>() + at,
                                        l.in[4].data<float>() + at, end - begin, factors);
        if (has_weights_) round_flat_weights(l.out[4], l.out[0].data<float>(), at, segment.begin + end);
      });
    }
  }

 private:
  AdamW options_;
  bool has_weights_;
};

}  // namespace

void adamw(const AdamWState& s, const AdamW& options) {
  NoGrad guard(s.master.context());
  std::vector<Tensor> in{s.master, s.m, s.v, s.step, s.grads, s.lr, s.grad_scale, s.found_inf};
  if (s.weights.defined()) in.push_back(s.weights);
  tern::apply(std::make_shared<AdamWOp>(options, s.weights.defined()), in);
}

}  // namespace tern
#endif
