#include "kernels/matmul/matmul.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/check.h"
#include "kernels/common/gemm_buffers.h"
#include "kernels/common/widen.h"
#include "kernels/reshape/reshape.h"

namespace tern {
namespace {

/// The leading axes: all but the last two.
Shape batch_of(const Shape& shape) { return Shape(shape.extents().first(static_cast<size_t>(shape.rank() - 2))); }

/// The broadcast of all leading axes, cut in two: those that the result keeps and those that are summed over. Extents
/// are 1 on the other's axes.
struct Batches {
  Shape kept, summed;
};
Batches split(const Shape& full, const Shape& result) {
  Batches batches{full, full};
  for (int axis = 0; axis < full.rank(); ++axis) {
    const int own = axis - full.rank() + result.rank();
    const bool keeps = own >= 0 && result[own] == full[axis];
    (keeps ? batches.summed : batches.kept) = (keeps ? batches.summed : batches.kept).with(axis, 1);
  }
  return batches;
}

/// Matrices of an operand to skip along each axis of the broadcast batch, 0 where the operand is broadcast.
using Strides = std::array<int64_t, Shape::kMaxRank>;
Strides batch_strides(const Shape& batch, const Shape& full) {
  Strides strides{};
  int64_t stride = 1;
  for (int axis = batch.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis + full.rank() - batch.rank())] = batch[axis] == 1 ? 0 : stride;
    stride *= batch[axis];
  }
  return strides;
}

int64_t matrix_at(int64_t index, const Shape& extents, const Strides& strides) {
  int64_t matrix = 0;
  for (int axis = extents.rank() - 1; axis >= 0; --axis) {
    matrix += index % extents[axis] * strides[static_cast<size_t>(axis)];
    index /= extents[axis];
  }
  return matrix;
}

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

    const Shape batch_a = batch_of(specs[0].shape), batch_b = batch_of(specs[1].shape);
    const Shape full = broadcast(batch_a, batch_b, "matmul");
    const Strides strides_a = batch_strides(batch_a, full), strides_b = batch_strides(batch_b, full);
    const Batches batches = split(full, batch_);
    l.context.pool().parallel_for(batch_.numel(), [&](int64_t target, int slot) {
      const C* first_a = a + matrix_at(target, batches.kept, strides_a) * g.m * g.k;
      const C* first_b = b + matrix_at(target, batches.kept, strides_b) * g.k * g.n;
      Gemm step = g;
      for (int64_t i = 0; i < batches.summed.numel(); ++i, step.accumulate = true)
        run_gemm<C>(step, first_a + matrix_at(i, batches.summed, strides_a) * g.m * g.k,
                    first_b + matrix_at(i, batches.summed, strides_b) * g.k * g.n, nullptr,
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
