#include "kernels/slice/slice.h"

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/blocks.h"
#include "kernels/common/check.h"
#include "kernels/pad/pad.h"

namespace tern {
namespace cuda {
void slice(Launch& launch, int axis, int64_t begin);  // slice.cu
}
namespace {

class Slice final : public OpBase<Slice> {
 public:
  Slice(int axis, int64_t begin, int64_t end) : axis_(axis), begin_(begin), end_(end) {}
  std::string_view name() const override { return "slice"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    const int64_t extent = in[0].shape[axis_];
    if (begin_ < 0 || begin_ >= end_ || end_ > extent)
      throw_shape(name(), "got " + std::to_string(begin_) + ".." + std::to_string(end_) + " of axis " + std::to_string(axis_) +
                              " of " + in[0].str() + ", wants 0 <= begin < end <= " + std::to_string(extent));
    return {{in[0].dtype, in[0].shape.with(axis_, end_ - begin_)}};
  }

  std::optional<Alias> alias(int, std::span<const Spec> in) const override {
    if (axis_ != 0) return std::nullopt;
    const size_t row = in[0].bytes() / static_cast<size_t>(in[0].shape[0]);
    return Alias{.input = 0, .offset = static_cast<size_t>(begin_) * row};
  }

  Saves saves(GradMask) const override { return {}; }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Shape& shape = node.input_spec(0).shape;
    Pad around;
    around.before.assign(static_cast<size_t>(shape.rank()), 0);
    around.after = around.before;
    around.before[static_cast<size_t>(axis_)] = begin_;
    around.after[static_cast<size_t>(axis_)] = shape[axis_] - end_;
    return {pad(dy[0], around)};
  }

  void run_cuda(Launch& l) const { cuda::slice(l, axis_, begin_); }

  void run_cpu(Launch& l) const {
    const AxisView view = axis_view(l.in[0].shape(), axis_);
    const int64_t inner = view.inner * static_cast<int64_t>(size_of(l.in[0].dtype()));
    const int64_t length = (end_ - begin_) * inner;
    const auto* from = static_cast<const std::byte*>(l.in[0].raw());
    auto* to = static_cast<std::byte*>(l.out[0].raw());
    move_rows(l.context, view.outer, length,
              [&](int64_t row) { copy_bytes(to + row * length, from + (row * view.extent + begin_) * inner, length); });
  }

 private:
  int axis_;
  int64_t begin_, end_;
};

}  // namespace

Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
  return apply_one(std::make_shared<Slice>(x.shape().normalize_axis(axis), begin, end), {x});
}

}  // namespace tern
