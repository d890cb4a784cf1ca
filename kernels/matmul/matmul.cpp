#include "kernels/matmul/matmul.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/check.h"
#include "kernels/common/gemm_buffers.h"
#include "kernels/common/on_cuda.h"
#include "kernels/common/widen.h"
#include "kernels/matmul/batches.h"
#include "kernels/reshape/reshape.h"

namespace tern {
namespace cuda {
// matmul_cuda.cpp
size_t matmul_workspace(const Spec& y, const MatMulBatches& batches);
void matmul(Launch& launch, MatMul options, const MatMulBatches& batches);
}  // namespace cuda
namespace {

/// The batched product. Its result's batch axes may be fewer than the operands' broadcast ones: batches that fall on
/// one result are added in order. With that the gradients of a broadcast operand are products too, to any order.
class MatMulOp final : public OpBase<MatMulOp> {
 public:
  MatMulOp(MatMul options, const Shape& batch) : options_(options), batch_(batch) {}

  std::string_view name() const override { return "matmul"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_same_floating(name(), in);
    require_elements(name(), in);
    const Gemm g = product(in);
    const int64_t inner_b = in[1].shape[options_.transpose_b ? -1 : -2];
    if (g.k != inner_b)
      throw_shape(name(), "a " + in[0].str() + (options_.transpose_a ? " transposed" : "") + " has inner extent " +
                              std::to_string(g.k) + " but b " + in[1].str() + (options_.transpose_b ? " transposed" : "") +
                              " has " + std::to_string(inner_b));
    std::vector<int64_t> extents(batch_.begin(), batch_.end());
    extents.insert(extents.end(), {g.m, g.n});
    return {{in[0].dtype, Shape(extents)}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if constexpr (kCudaBuild)
      if (on_cuda(context)) return cuda::matmul_workspace(infer(in)[0], {in[0].shape, in[1].shape, batch_});
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      using T = decltype(t);
      const Gemm g = product(in);
      return scratch_bytes<float>(wide_count<T>(in[0].numel())) + scratch_bytes<float>(wide_count<T>(in[1].numel())) +
             scratch_bytes<float>(wide_count<T>(batch_.numel() * g.m * g.n)) +
             GemmBuffers<Compute<T>>::bytes(context, g, batch_.numel());
    });
  }

  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const auto [ta, tb] = options_;
    std::vector<Tensor> dx(2);
    if (node.needs(0)) {
      const Shape batch = batch_of(node.input_spec(0).shape);
      dx[0] = ta ? product_of(node.input(1), dy[0], {tb, true}, batch) : product_of(dy[0], node.input(1), {false, !tb}, batch);
    }
    if (node.needs(1)) {
      const Shape batch = batch_of(node.input_spec(1).shape);
      dx[1] = tb ? product_of(dy[0], node.input(0), {true, ta}, batch) : product_of(node.input(0), dy[0], {!ta, false}, batch);
    }
    return dx;
  }

  void run_cpu(Launch& l) const {
    dispatch_floating(name(), l.out[0].dtype(), [&](auto t) { run_typed<decltype(t)>(l); });
  }
  void run_cuda(Launch& l) const { cuda::matmul(l, options_, {l.in[0].shape(), l.in[1].shape(), batch_}); }

  static Tensor product_of(const Tensor& a, const Tensor& b, MatMul options, const Shape& batch) {
    return apply_one(std::make_shared<MatMulOp>(options, batch), {a, b});
  }

 private:
  Gemm product(std::span<const Spec> in) const {
    const bool ta = options_.transpose_a, tb = options_.transpose_b;
    return {.m = in[0].shape[ta ? -1 : -2], .n = in[1].shape[tb ? -2 : -1], .k = in[0].shape[ta ? -2 : -1],
            .transpose_a = ta, .transpose_b = tb};
  }

  template <class T>
  void run_typed(Launch& l) const {
    using C = Compute<T>;
    Scratch scratch(l.workspace);
    const C* a = widened<T>(l.context, l.in[0], scratch);
    const C* b = widened<T>(l.context, l.in[1], scratch);
    const WideOutput<T> y(l.context, l.out[0], scratch);
    const std::array specs{l.in[0].spec(), l.in[1].spec()};
    const Gemm g = product(specs);
    const GemmBuffers<C> buffers(l.context, g, batch_.numel(), scratch);

    const MatMulBatches batches(specs[0].shape, specs[1].shape, batch_);
    l.context.pool().parallel_for(batch_.numel(), [&](int64_t target, int slot) {
      Gemm step = g;
      for (int64_t i = 0; i < batches.summed.numel(); ++i, step.accumulate = true)
        run_gemm<C>(step, a + batches.a_at(target, i) * g.m * g.k, b + batches.b_at(target, i) * g.k * g.n, nullptr,
                    y.data() + target * g.m * g.n, buffers.at(slot), l.context.pool());
    });
    y.store();
  }

  MatMul options_;
  Shape batch_;
};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, MatMul options) {
  if (a.rank() < 2 || b.rank() < 2)
    throw_shape("matmul", "got " + a.spec().str() + " and " + b.spec().str() + ", wants at least two axes each");
  // Rows of many matrices against one matrix are rows of one matrix.
  if (a.rank() > 2 && b.rank() == 2 && !options.transpose_a && a.numel() > 0) {
    const Tensor y = matmul(reshape(a, {-1, a.size(-1)}), b, options);
    return reshape(y, a.shape().with(-1, y.size(-1)));
  }
  return MatMulOp::product_of(a, b, options, broadcast(batch_of(a.shape()), batch_of(b.shape()), "matmul"));
}

}  // namespace tern
