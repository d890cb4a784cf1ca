#include "kernels/norm/norm.h"

#include "core/autograd.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/common/check.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/mul/mul.h"
#include "kernels/norm/norm_policy.h"

namespace tern {
namespace cuda {
void norm(Launch& launch, AxisMask mask);  // norm.cu
void safe_div(Launch& launch);  // safe_div.cu
}
namespace {

/// a / b, 0 where b is 0.
class SafeDiv final : public BinaryOp<SafeDiv> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "safe_div"; }
  static constexpr formula::SafeDiv eval{};
  void run_cuda(Launch& launch) const { cuda::safe_div(launch); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor share = apply_binary<SafeDiv>(dy[0], node.input(1));
    std::vector<Tensor> result{share, Tensor{}};
    if (node.needs(1)) result[1] = mul(mul(share, -1.0), apply_binary<SafeDiv>(node.input(0), node.input(1)));
    return result;
  }
};

class Norm final : public OpBase<Norm> {
 public:
  Norm(AxisMask mask, const Shape& out) : mask_(mask), out_(out) {}
  std::string_view name() const override { return "norm"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    require_same_floating(name(), in);
    return {Spec{in[0].dtype, out_}};
  }
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    const LaneReduction plan(in[0].shape, mask_, 0);
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      return reduce_workspace<Compute<decltype(t)>, decltype(t)>(context, plan);
    });
  }
  void run_cpu(Launch& launch) const {
    const Tensor& x = launch.in[0];
    const LaneReduction plan(x.shape(), mask_, 0);
    dispatch_floating(name(), x.dtype(), [&](auto t) {
      using T = decltype(t);
      reduce<Compute<T>>(launch.context, plan, NormPolicy<Compute<T>>{}, x.data<T>(), launch.out[0].data<T>(),
                         launch.workspace);
    });
  }
  void run_cuda(Launch& launch) const { cuda::norm(launch, mask_); }

  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Shape& shape = node.input_spec(0).shape;
    const Tensor share = apply_binary<SafeDiv>(dy[0], node.output(0));
    return {mul(node.input(0), broadcast_to(share, reduced_shape(shape, mask_, true), shape))};
  }

 private:
  AxisMask mask_;
  Shape out_;
};

}  // namespace

Tensor norm(const Tensor& x, const Reduction& options) {
  const AxisMask mask = axis_mask("norm", x.shape(), options.axes);
  return apply_one(std::make_shared<Norm>(mask, reduced_shape(x.shape(), mask, options.keepdim)), {x});
}

}  // namespace tern
