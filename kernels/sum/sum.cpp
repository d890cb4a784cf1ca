#include "kernels/sum/sum.h"

#include "core/autograd.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/common/check.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/sum_axes.h"
#include "kernels/mul/mul.h"

namespace tern {
namespace cuda {
void sum_axes(Launch& launch, AxisMask mask, SumAxes options);  // sum.cu
}
namespace {

class Sum final : public OpBase<Sum> {
 public:
  Sum(AxisMask mask, const Shape& out, SumAxes options) : mask_(mask), out_(out), options_(options) {}
  std::string_view name() const override { return options_.mean ? "mean" : "sum"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    if (options_.mean) require_same_floating(name(), in);
    return {Spec{is_floating(in[0].dtype) ? in[0].dtype : DType::i64, out_}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    const LaneReduction plan(in[0].shape, mask_, options_.lane_size);
    return dispatch_all(in[0].dtype, [&](auto t) {
      return reduce_workspace<Accumulator<decltype(t)>, decltype(t)>(context, plan);
    });
  }

  void run_cpu(Launch& launch) const {
    const Tensor& x = launch.in[0];
    const LaneReduction plan(x.shape(), mask_, options_.lane_size);
    dispatch_all(x.dtype(), [&](auto t) {
      using T = decltype(t);
      using A = Accumulator<T>;
      using Out = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
      const SumPolicy<A> policy{options_.mean ? static_cast<A>(reduced_count(x.shape(), mask_)) : A{1}};
      reduce<A>(launch.context, plan, policy, x.data<T>(), launch.out[0].data<Out>(), launch.workspace);
    });
  }
  void run_cuda(Launch& launch) const { cuda::sum_axes(launch, mask_, options_); }

  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Shape& shape = node.input_spec(0).shape;
    const Tensor share = options_.mean ? mul(dy[0], 1.0 / static_cast<double>(reduced_count(shape, mask_))) : dy[0];
    return {broadcast_to(share, reduced_shape(shape, mask_, true), shape)};
  }

 private:
  AxisMask mask_;
  Shape out_;
  SumAxes options_;
};

}  // namespace

Tensor sum_axes(const Tensor& x, AxisMask mask, const Shape& out, SumAxes options) {
  return apply_one(std::make_shared<Sum>(mask, out, options), {x});
}

Tensor sum(const Tensor& x, const Reduction& options) {
  const AxisMask mask = axis_mask("sum", x.shape(), options.axes);
  return sum_axes(x, mask, reduced_shape(x.shape(), mask, options.keepdim));
}

}  // namespace tern
