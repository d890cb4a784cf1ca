#include "kernels/sgd/sgd.h"

#include "core/error.h"
#include "core/op.h"
#include "kernels/common/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sgd/sgd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/common/for_vectors-inl.h"

#ifndef TERN_SGD_ONCE
#define TERN_SGD_ONCE
namespace tern {
namespace {

struct SgdFactors {
  float grad_scale, weight_decay, momentum, minus_lr;
};

}  // namespace
}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

enum class Momentum { none, plain, nesterov };

/// The parameters and, with momentum, its buffer.
template <Momentum kMomentum>
using Arrays = std::array<float*, kMomentum == Momentum::none ? 1 : 2>;

template <Momentum kMomentum>
void update(const Arrays<kMomentum>& arrays, const float* grads, int64_t count, const SgdFactors& f) {
  const hn::ScalableTag<float> d;
  const auto grad_scale = hn::Set(d, f.grad_scale), weight_decay = hn::Set(d, f.weight_decay);
  const auto momentum = hn::Set(d, f.momentum), minus_lr = hn::Set(d, f.minus_lr);
  for_vectors(arrays, grads, count, [&](const Arrays<kMomentum>& p, const float* grad) {
    const auto old = hn::LoadU(d, p[0]);
    auto direction = hn::MulAdd(weight_decay, old, hn::Mul(hn::LoadU(d, grad), grad_scale));
    if constexpr (kMomentum != Momentum::none) {
      const auto b = without_denormals(d, hn::Add(hn::Mul(hn::LoadU(d, p[1]), momentum), direction));
      hn::StoreU(b, d, p[1]);
      direction = kMomentum == Momentum::nesterov ? hn::MulAdd(momentum, b, direction) : b;
    }
    hn::StoreU(hn::MulAdd(minus_lr, direction, old), d, p[0]);
  });
}

void sgd_f32(float* master, float* buffer, const float* grads, int64_t count, const SgdFactors& f, bool nesterov) {
  if (f.momentum == 0) return update<Momentum::none>({master}, grads, count, f);
  if (nesterov) return update<Momentum::nesterov>({master, buffer}, grads, count, f);
  update<Momentum::plain>({master, buffer}, grads, count, f);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace cuda {
void sgd(Launch& launch, const Sgd& options);  // sgd.cu
}
namespace {

HWY_EXPORT(sgd_f32);

/// in: master, grads, lr, grad_scale, found_inf, then the momentum buffer and the weights where there are any; out:
/// master, buffer, weights.
class SgdOp final : public OpBase<SgdOp> {
 public:
  SgdOp(const Sgd& options, bool has_weights) : options_(options), has_weights_(has_weights) {}

  std::string_view name() const override { return "sgd"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    std::vector<Spec> arenas{in[0], in[1]}, out{in[0]};
    if (has_momentum()) {
      arenas.push_back(in[5]);
      out.push_back(in[5]);
    }
    check_flat_update(name(), arenas, in[2], in[3], in[4], options_.segments);
    if (has_weights_) {
      check_flat_weights(name(), in.back(), in[0]);
      out.push_back(in.back());
    }
    return out;
  }
  std::optional<Alias> alias(int out, std::span<const Spec>) const override {
    return Alias{.input = out == 0 ? 0 : 4 + out, .writes = true};
  }
  int visible_outputs() const override { return 1 + (has_momentum() ? 1 : 0) + (has_weights_ ? 1 : 0); }
  bool differentiable() const override { return false; }
  void run_cuda(Launch& launch) const { cuda::sgd(launch, options_); }

  void run_cpu(Launch& l) const {
    if (l.in[4].data<float>()[0] != 0) return;
    for (const UpdateSegment& segment : options_.segments) {
      const SgdFactors factors{.grad_scale = l.in[3].data<float>()[0],
                               .weight_decay = static_cast<float>(segment.weight_decay),
                               .momentum = static_cast<float>(options_.momentum),
                               .minus_lr = static_cast<float>(-l.in[2].data<double>()[segment.group])};
      for_chunks(l.context, segment.end - segment.begin, [&](int64_t begin, int64_t end) {
        const int64_t at = segment.begin + begin;
        float* buffer = has_momentum() ? l.out[1].data<float>() + at : nullptr;
        HWY_DYNAMIC_DISPATCH(sgd_f32)(l.out[0].data<float>() + at, buffer, l.in[1].data<float>() + at, end - begin, factors,
                                      options_.nesterov);
        if (has_weights_) round_flat_weights(l.out.back(), l.out[0].data<float>(), at, segment.begin + end);
      });
    }
  }

 private:
  bool has_momentum() const { return options_.momentum != 0; }

  Sgd options_;
  bool has_weights_;
};

}  // namespace

void sgd(const SgdState& s, const Sgd& options) {
  if (options.nesterov && options.momentum == 0) throw ConfigError("[sgd] Nesterov wants a momentum over 0");
  if (options.momentum != 0 && !s.momentum.defined()) throw_shape("sgd", "momentum buffer is undefined");
  NoGrad guard(s.master.context());
  std::vector<Tensor> in{s.master, s.grads, s.lr, s.grad_scale, s.found_inf};
  if (options.momentum != 0) in.push_back(s.momentum);
  if (s.weights.defined()) in.push_back(s.weights);
  tern::apply(std::make_shared<SgdOp>(options, s.weights.defined()), in);
}

}  // namespace tern
#endif
