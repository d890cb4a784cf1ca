#pragma once
#include "core/autograd.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/extreme_policy.h"
#include "kernels/common/formulas.h"
#include "kernels/common/sum_axes.h"
#include "kernels/div/div.h"
#include "kernels/mul/mul.h"

/// max and min over axes: one op with the comparison as parameter.
namespace tern {
namespace cuda {
void equal_mask(Launch& launch);                 // extreme.cu
void reduce_max(Launch& launch, AxisMask mask);  // kernels/max/max.cu
void reduce_min(Launch& launch, AxisMask mask);  // kernels/min/min.cu
}  // namespace cuda

/// 1 where a == b, else 0. Off the tape: it is piecewise constant.
class EqualMask final : public BinaryOp<EqualMask> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "equal_mask"; }
  bool differentiable() const override { return false; }
  static constexpr formula::EqualMask eval{};
  void run_cuda(Launch& launch) const { cuda::equal_mask(launch); }
};

template <bool kMax>
class Extreme final : public OpBase<Extreme<kMax>> {
 public:
  Extreme(AxisMask mask, const Shape& out) : mask_(mask), out_(out) {}
  std::string_view name() const override { return kMax ? "max" : "min"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    return {Spec{in[0].dtype, out_}};
  }
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    const LaneReduction plan(in[0].shape, mask_, 0);
    return dispatch_all(in[0].dtype, [&](auto t) {
      return reduce_workspace<Compute<decltype(t)>, decltype(t)>(context, plan);
    });
  }
  void run_cpu(Launch& launch) const {
    const Tensor& x = launch.in[0];
    const LaneReduction plan(x.shape(), mask_, 0);
    dispatch_all(x.dtype(), [&](auto t) {
      using T = decltype(t);
      reduce<Compute<T>>(launch.context, plan, ExtremePolicy<Compute<T>, kMax>{}, x.data<T>(), launch.out[0].data<T>(),
                         launch.workspace);
    });
  }
  void run_cuda(Launch& launch) const { kMax ? cuda::reduce_max(launch, mask_) : cuda::reduce_min(launch, mask_); }

  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Shape& shape = node.input_spec(0).shape;
    const Shape view = reduced_shape(shape, mask_, true);
    const Tensor ties = apply_binary<EqualMask>(node.input(0), broadcast_to(node.output(0).detach(), view, shape));
    const Tensor share = div(dy[0], sum_axes(ties, mask_, out_));
    return {mul(ties, broadcast_to(share, view, shape))};
  }

 private:
  AxisMask mask_;
  Shape out_;
};

template <bool kMax>
Tensor reduce_extreme(const Tensor& x, const Reduction& options) {
  const AxisMask mask = axis_mask(kMax ? "max" : "min", x.shape(), options.axes);
  return apply_one(std::make_shared<Extreme<kMax>>(mask, reduced_shape(x.shape(), mask, options.keepdim)), {x});
}

}  // namespace tern
