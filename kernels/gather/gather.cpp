#include "kernels/gather/gather.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/op.h"
#include "kernels/common/blocks.h"
#include "kernels/common/check.h"
#include "kernels/common/widen.h"

namespace tern {
namespace cuda {  // gather.cu
void gather(Launch& launch, int axis);
void scatter_add(Launch& launch, int axis);
}
namespace {

void require_indices(std::string_view op, const Spec& indices) {
  if (indices.dtype != DType::i64) throw_dtype(op, "indices are " + indices.str() + ", wants i64[M]");
  if (indices.shape.rank() != 1) throw_shape(op, "indices are " + indices.str() + ", wants i64[M]");
}

/// The values are known only when the op runs: checked before anything is read or written.
void check_range(std::string_view op, std::span<const int64_t> indices, int64_t extent) {
  for (size_t m = 0; m < indices.size(); ++m)
    if (indices[m] < 0 || indices[m] >= extent)
      throw DataError("[" + std::string(op) + "] index " + std::to_string(indices[m]) + " at position " + std::to_string(m) +
                      " is outside 0.." + std::to_string(extent - 1));
}

class Gather final : public OpBase<Gather> {
 public:
  explicit Gather(int axis) : axis_(axis) {}
  std::string_view name() const override { return "gather"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    require_indices(name(), in[1]);
    return {{in[0].dtype, in[0].shape.with(axis_, in[1].numel())}};
  }
  Saves saves(GradMask) const override {
    Saves saves;
    saves.inputs.set(1);
    return saves;
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {scatter_add(dy[0], node.input(1), node.input_spec(0).shape[axis_], axis_), {}};
  }

  void run_cuda(Launch& l) const { cuda::gather(l, axis_); }

  void run_cpu(Launch& l) const {
    const AxisView x = axis_view(l.in[0].shape(), axis_), y = axis_view(l.out[0].shape(), axis_);
    const int64_t inner = x.inner * static_cast<int64_t>(size_of(l.in[0].dtype()));
    const int64_t* indices = l.in[1].data<int64_t>();
    check_range(name(), l.in[1].span<int64_t>(), x.extent);
    const auto* from = static_cast<const std::byte*>(l.in[0].raw());
    auto* to = static_cast<std::byte*>(l.out[0].raw());
    move_rows(l.context, y.outer * y.extent, inner, [&](int64_t row) {
      copy_bytes(to + row * inner, from + (row / y.extent * x.extent + indices[row % y.extent]) * inner, inner);
    });
  }

 private:
  int axis_;
};

class ScatterAdd final : public OpBase<ScatterAdd> {
 public:
  ScatterAdd(int64_t extent, int axis) : extent_(extent), axis_(axis) {}
  std::string_view name() const override { return "scatter_add"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_same_floating(name(), in.first(1));
    require_elements(name(), in);
    require_indices(name(), in[1]);
    if (in[1].numel() != in[0].shape[axis_] || extent_ < 1)
      throw_shape(name(), "got " + in[0].str() + " and indices " + in[1].str() + " for axis " + std::to_string(axis_) +
                              " of " + std::to_string(extent_) + " rows");
    return {{in[0].dtype, in[0].shape.with(axis_, extent_)}};
  }
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if (context.device().kind == Device::Kind::cuda) return 0;
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      return scratch_bytes<float>(wide_count<decltype(t)>(in[0].shape.with(axis_, extent_).numel()));
    });
  }
  Saves saves(GradMask) const override {
    Saves saves;
    saves.inputs.set(1);
    return saves;
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dx) const override {
    return {gather(dx[0], node.input(1), axis_), {}};
  }

  void run_cuda(Launch& l) const { cuda::scatter_add(l, axis_); }

  void run_cpu(Launch& l) const {
    const AxisView dy = axis_view(l.in[0].shape(), axis_);
    const std::span<const int64_t> indices = l.in[1].span<int64_t>();
    check_range(name(), indices, extent_);
    dispatch_floating(name(), l.in[0].dtype(), [&](auto t) {
      using T = decltype(t);
      Scratch scratch(l.workspace);
      const WideOutput<T> dx(l.context, l.out[0], scratch);
      const T* from = l.in[0].data<T>();
      // Tasks are stretches of the inner elements: every sum is one task's, in the order of the indices.
      const int64_t width = std::min<int64_t>(dy.inner, 256), stretches = (dy.inner + width - 1) / width;
      move_rows(l.context, dy.outer * stretches, dy.extent * width * static_cast<int64_t>(sizeof(T)), [&](int64_t task) {
        const int64_t begin = task % stretches * width, end = std::min(dy.inner, begin + width);
        Compute<T>* to = dx.data() + task / stretches * extent_ * dy.inner;
        const T* rows = from + task / stretches * dy.extent * dy.inner;
        for (int64_t i = 0; i < extent_; ++i) std::fill(to + i * dy.inner + begin, to + i * dy.inner + end, Compute<T>(0));
        for (int64_t m = 0; m < dy.extent; ++m)
          for (int64_t q = begin; q < end; ++q)
            to[indices[static_cast<size_t>(m)] * dy.inner + q] += load_element(rows[m * dy.inner + q]);
      });
      dx.store();
    });
  }

 private:
  int64_t extent_;
  int axis_;
};

}  // namespace

Tensor gather(const Tensor& x, const Tensor& indices, int axis) {
  return apply_one(std::make_shared<Gather>(x.shape().normalize_axis(axis)), {x, indices});
}

Tensor scatter_add(const Tensor& dy, const Tensor& indices, int64_t extent, int axis) {
  return apply_one(std::make_shared<ScatterAdd>(extent, dy.shape().normalize_axis(axis)), {dy, indices});
}

}  // namespace tern
