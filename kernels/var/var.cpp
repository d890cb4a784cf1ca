#include "kernels/var/var.h"

#include "core/autograd.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/common/check.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/scratch.h"
#include "kernels/common/sum_axes.h"
#include "kernels/mul/mul.h"
#include "kernels/sub/sub.h"
#include "kernels/var/var_policy.h"

namespace tern {
namespace cuda {
void var(Launch& launch, AxisMask mask, double count, double divisor);  // var.cu
}
namespace {

class Var final : public OpBase<Var> {
 public:
  Var(AxisMask mask, const Shape& out, double correction) : mask_(mask), out_(out), correction_(correction) {}
  std::string_view name() const override { return "var"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    require_same_floating(name(), in);
    return {Spec{in[0].dtype, out_}};
  }

  /// The means, then the reductions' partial sums.
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    const LaneReduction plan(in[0].shape, mask_, 0);
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      using A = Compute<decltype(t)>;
      return scratch_bytes<A>(plan.outputs) + reduce_workspace<A, decltype(t)>(context, plan);
    });
  }

  void run_cpu(Launch& launch) const {
    const Tensor& x = launch.in[0];
    const LaneReduction plan(x.shape(), mask_, 0);
    dispatch_floating(name(), x.dtype(), [&](auto t) {
      using T = decltype(t);
      using A = Compute<T>;
      A* means = reinterpret_cast<A*>(launch.workspace.data());
      const auto partials = launch.workspace.subspan(scratch_bytes<A>(plan.outputs));
      const SumPolicy<A> mean{static_cast<A>(reduced_count(x.shape(), mask_))};
      reduce<A>(launch.context, plan, mean, x.data<T>(), means, partials);
      const VarPolicy<A> policy{means, static_cast<A>(divisor(x.shape()))};
      reduce<A>(launch.context, plan, policy, x.data<T>(), launch.out[0].data<T>(), partials);
    });
  }
  void run_cuda(Launch& launch) const {
    const Shape& shape = launch.in[0].shape();
    cuda::var(launch, mask_, static_cast<double>(reduced_count(shape, mask_)), divisor(shape));
  }

  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor x = node.input(0);
    const Shape view = reduced_shape(x.shape(), mask_, true);
    const Tensor distance = sub(x, sum_axes(x, mask_, view, {.mean = true}));
    return {mul(distance, broadcast_to(mul(dy[0], 2.0 / divisor(x.shape())), view, x.shape()))};
  }

 private:
  double divisor(const Shape& shape) const {
    return std::max(0.0, static_cast<double>(reduced_count(shape, mask_)) - correction_);
  }
  AxisMask mask_;
  Shape out_;
  double correction_;
};

}  // namespace

Tensor var(const Tensor& x, const Variance& options) {
  const AxisMask mask = axis_mask("var", x.shape(), options.axes);
  const Shape out = reduced_shape(x.shape(), mask, options.keepdim);
  return apply_one(std::make_shared<Var>(mask, out, options.correction), {x});
}

}  // namespace tern
