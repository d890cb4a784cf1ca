#include "kernels/linear_wgrad/linear_wgrad.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/lanes.h"
#include "core/op.h"
#include "kernels/common/check.h"
#include "kernels/common/gemm_buffers.h"
#include "kernels/common/on_cuda.h"
#include "kernels/common/widen.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"

namespace tern {
namespace cuda {
size_t gemm_workspace();            // gemm_cuda.cpp
void linear_wgrad(Launch& launch);  // gemm_cuda.cpp
}  // namespace cuda
namespace {

class LinearWgradOp final : public OpBase<LinearWgradOp> {
 public:
  explicit LinearWgradOp(int64_t lane_size) : lane_size_(lane_size) {}

  std::string_view name() const override { return "linear_wgrad"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_same_floating(name(), in);
    require_elements(name(), in);
    const Shape &dy = in[0].shape, &x = in[1].shape;
    if (dy.rank() < 2 || dy.rank() != x.rank() || dy.with(-1, x[-1]) != x)
      throw_shape(name(), "got dy " + in[0].str() + " and x " + in[1].str() + ", wants [N,..,out] and [N,..,in]");
    return {{in[0].dtype, Shape{dy[-1], x[-1]}}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if constexpr (kCudaBuild)
      if (on_cuda(context)) return cuda::gemm_workspace();
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      using T = decltype(t);
      const Lanes lanes{in[0].shape[0], lane_size_};
      const Gemm g = product(in, lanes.end(0));
      const int64_t length = g.m * g.n;
      return scratch_bytes<float>(wide_count<T>(in[0].numel())) + scratch_bytes<float>(wide_count<T>(in[1].numel())) +
             scratch_bytes<float>(wide_count<T>(length)) +
             scratch_bytes<Compute<T>>(lanes.count() > 1 ? lanes.count() * length : 0) +
             GemmBuffers<Compute<T>>::bytes(context, g, lanes.count());
    });
  }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dw) const override {
    std::vector<Tensor> dx(2);
    if (node.needs(0)) dx[0] = linear(node.input(1), dw[0]);
    if (node.needs(1)) dx[1] = matmul(node.input(0), dw[0]);
    return dx;
  }

  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }

  void run_cpu(Launch& l) const {
    dispatch_floating(name(), l.out[0].dtype(), [&](auto t) { run_typed<decltype(t)>(l); });
  }
  void run_cuda(Launch& l) const { cuda::linear_wgrad(l); }

 private:
  /// The product of `count` pictures' rows.
  static Gemm product(std::span<const Spec> in, int64_t count) {
    const int64_t out = in[0].shape[-1], rows = in[0].numel() / out / in[0].shape[0];
    return {.m = out, .n = in[1].shape[-1], .k = count * rows, .transpose_a = true};
  }

  template <class T>
  void run_typed(Launch& l) const {
    using C = Compute<T>;
    Scratch scratch(l.workspace);
    const C* dy = widened<T>(l.context, l.in[0], scratch);
    const C* x = widened<T>(l.context, l.in[1], scratch);
    const WideOutput<T> dw(l.context, l.out[0], scratch);
    const Lanes lanes{l.in[0].size(0), lane_size_};
    const Spec specs[] = {l.in[0].spec(), l.in[1].spec()};
    const Gemm longest = product(specs, lanes.end(0));
    const int64_t length = longest.m * longest.n;
    const int64_t dy_step = l.in[0].numel() / lanes.rows, x_step = l.in[1].numel() / lanes.rows;  // of a picture
    C* sums = lanes.count() > 1 ? scratch.take<C>(lanes.count() * length) : dw.data();
    const GemmBuffers<C> buffers(l.context, longest, lanes.count(), scratch);

    l.context.pool().parallel_for(lanes.count(), [&](int64_t lane, int slot) {
      const Gemm g = product(specs, lanes.end(lane) - lanes.begin(lane));
      run_gemm<C>(g, dy + lanes.begin(lane) * dy_step, x + lanes.begin(lane) * x_step, nullptr, sums + lane * length,
                  buffers.at(slot), l.context.pool());
    });
    if (lanes.count() > 1)
      for_chunks(l.context, length, [&](int64_t begin, int64_t end) {
        tree_sum(sums + begin, lanes.count(), length, end - begin);
        std::copy(sums + begin, sums + end, dw.data() + begin);
      });
    dw.store();
  }

  int64_t lane_size_;
};

}  // namespace

Tensor linear_wgrad(const Tensor& dy, const Tensor& x, LinearWgrad options) {
  return apply_one(std::make_shared<LinearWgradOp>(options.lane_size.value_or(dy.context().lane_size())), {dy, x});
}

}  // namespace tern
