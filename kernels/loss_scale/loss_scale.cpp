#include "kernels/loss_scale/loss_scale.h"

#include <cmath>

#include "core/error.h"
#include "core/op.h"
#include "kernels/loss_scale/loss_scale_rule.h"

namespace tern {
namespace cuda {
void loss_scale_update(Launch& launch, const LossScale& options);  // loss_scale.cu
}
namespace {

/// in: scale, good_steps, found_inf. Overwrites the first two.
class LossScaleUpdate final : public OpBase<LossScaleUpdate> {
 public:
  explicit LossScaleUpdate(LossScale options) : options_(options) {}
  std::string_view name() const override { return "loss_scale_update"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    const Spec scalar{DType::f32, {1}}, count{DType::i64, {1}};
    if (in[0] != scalar || in[1] != count || in[2] != scalar)
      throw_shape(name(), "got scale " + in[0].str() + ", good_steps " + in[1].str() + " and found_inf " + in[2].str() +
                              ", wants " + scalar.str() + ", " + count.str() + " and " + scalar.str());
    return {in[0], in[1]};
  }
  std::optional<Alias> alias(int out, std::span<const Spec>) const override { return Alias{.input = out, .writes = true}; }
  int visible_outputs() const override { return 2; }
  bool differentiable() const override { return false; }
  void run_cuda(Launch& launch) const { cuda::loss_scale_update(launch, options_); }
  void run_cpu(Launch& l) const {
    move_loss_scale(*l.out[0].data<float>(), *l.out[1].data<int64_t>(), *l.in[2].data<float>(), options_);
  }

 private:
  LossScale options_;
};

void check_options(const LossScale& o) {
  const auto wants = [](bool holds, const std::string& what) {
    if (!holds) throw ConfigError("[loss_scale_update] " + what);
  };
  wants(o.growth >= 1 && std::isfinite(o.growth), "growth is " + std::to_string(o.growth) + ", wants 1 or more");
  wants(o.backoff > 0 && o.backoff <= 1, "backoff is " + std::to_string(o.backoff) + ", wants over 0 and at most 1");
  wants(o.growth_interval >= 1, "growth_interval is " + std::to_string(o.growth_interval) + ", wants 1 or more");
  wants(o.min_scale > 0 && o.min_scale <= o.max_scale && o.max_scale <= 0x1p127,
        "scales " + std::to_string(o.min_scale) + " to " + std::to_string(o.max_scale) + ", wants positive f32 in order");
}

}  // namespace

void loss_scale_update(const Tensor& scale, const Tensor& good_steps, const Tensor& found_inf, LossScale options) {
  check_options(options);
  NoGrad guard(scale.context());
  const std::vector<Tensor> in{scale, good_steps, found_inf};
  tern::apply(std::make_shared<LossScaleUpdate>(options), in);
}

}  // namespace tern
