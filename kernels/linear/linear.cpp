#include "kernels/linear/linear.h"

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/bias_grad/bias_grad.h"
#include "kernels/common/check.h"
#include "kernels/common/gemm.h"
#include "kernels/common/on_cuda.h"
#include "kernels/common/widen.h"
#include "kernels/linear_wgrad/linear_wgrad.h"
#include "kernels/matmul/matmul.h"

namespace tern {
namespace cuda {
size_t gemm_workspace();      // gemm_cuda.cpp
void linear(Launch& launch);  // gemm_cuda.cpp
}  // namespace cuda
namespace {

/// in: x, w and perhaps the bias.
class Linear final : public OpBase<Linear> {
 public:
  explicit Linear(int64_t lane_size) : lane_size_(lane_size) {}

  std::string_view name() const override { return "linear"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_same_floating(name(), in);
    require_elements(name(), in);
    if (in[0].shape.rank() < 2 || in[1].shape.rank() != 2)
      throw_shape(name(), "got x " + in[0].str() + " and w " + in[1].str() + ", wants [N,..,in] and [out,in]");
    if (in[0].shape[-1] != in[1].shape[1])
      throw_shape(name(), "w " + in[1].str() + " has in=" + std::to_string(in[1].shape[1]) + " but x " + in[0].str() +
                              " has in=" + std::to_string(in[0].shape[-1]));
    const int64_t out = in[1].shape[0];
    if (in.size() == 3 && in[2].shape != Shape{out})
      throw_shape(name(), "bias is " + in[2].str() + ", w " + in[1].str() + " wants [" + std::to_string(out) + "]");
    return {{in[0].dtype, in[0].shape.with(-1, out)}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if constexpr (kCudaBuild)
      if (on_cuda(context)) return cuda::gemm_workspace();
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      using T = decltype(t);
      const Gemm g = product(in);
      size_t bytes = scratch_bytes<float>(wide_count<T>(g.m * g.n));
      for (const Spec& spec : in) bytes += scratch_bytes<float>(wide_count<T>(spec.numel()));
      return bytes + gemm_workspace<Compute<T>>(g);
    });
  }

  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    std::vector<Tensor> dx(static_cast<size_t>(node.input_count()));
    if (node.needs(0)) dx[0] = matmul(dy[0], node.input(1));
    if (node.needs(1)) dx[1] = linear_wgrad(dy[0], node.input(0), {.lane_size = lane_size_});
    if (node.input_count() == 3 && node.needs(2)) dx[2] = bias_grad(dy[0], {.lane_size = lane_size_});
    return dx;
  }

  void run_cpu(Launch& l) const {
    dispatch_floating(name(), l.out[0].dtype(), [&](auto t) { run_typed<decltype(t)>(l); });
  }
  void run_cuda(Launch& l) const { cuda::linear(l); }

 private:
  static Gemm product(std::span<const Spec> in) {
    const int64_t width = in[1].shape[1];
    return {.m = in[0].numel() / width, .n = in[1].shape[0], .k = width, .transpose_b = true};
  }

  template <class T>
  void run_typed(Launch& l) const {
    using C = Compute<T>;
    Scratch scratch(l.workspace);
    const C* x = widened<T>(l.context, l.in[0], scratch);
    const C* w = widened<T>(l.context, l.in[1], scratch);
    const C* bias = l.in.size() == 3 ? widened<T>(l.context, l.in[2], scratch) : nullptr;
    const WideOutput<T> y(l.context, l.out[0], scratch);
    const Spec specs[] = {l.in[0].spec(), l.in[1].spec()};
    const Gemm g = product(specs);
    const size_t bytes = gemm_workspace<C>(g);
    run_gemm<C>(g, x, w, bias, y.data(), {scratch.take<std::byte>(static_cast<int64_t>(bytes)), bytes}, l.context.pool());
    y.store();
  }

  int64_t lane_size_;
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  return apply_one(std::make_shared<Linear>(x.context().lane_size()), {x, w, bias});
}

Tensor linear(const Tensor& x, const Tensor& w) {
  return apply_one(std::make_shared<Linear>(x.context().lane_size()), {x, w});
}

}  // namespace tern
