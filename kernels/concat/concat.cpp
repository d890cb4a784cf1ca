#include "kernels/concat/concat.h"

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/blocks.h"
#include "kernels/common/check.h"
#include "kernels/slice/slice.h"

namespace tern {
namespace cuda {
void concat(Launch& launch, int axis);  // concat.cu
}
namespace {

class Concat final : public OpBase<Concat> {
 public:
  explicit Concat(int axis) : axis_(axis) {}
  std::string_view name() const override { return "concat"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    int64_t extent = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      if (in[i].dtype != in[0].dtype) throw_dtype(name(), "tensor " + std::to_string(i) + " is " + in[i].str() + ", tensor 0 is " + in[0].str());
      if (in[i].shape.rank() != in[0].shape.rank() || in[i].shape.with(axis_, in[0].shape[axis_]) != in[0].shape)
        throw_shape(name(), "tensor " + std::to_string(i) + " is " + in[i].str() + ", tensor 0 is " + in[0].str() +
                                ": they may differ along axis " + std::to_string(axis_) + " only");
      extent += in[i].shape[axis_];
    }
    return {{in[0].dtype, in[0].shape.with(axis_, extent)}};
  }
  Saves saves(GradMask) const override { return {}; }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    std::vector<Tensor> dx(static_cast<size_t>(node.input_count()));
    int64_t begin = 0;
    for (int i = 0; i < node.input_count(); ++i) {
      const int64_t end = begin + node.input_spec(i).shape[axis_];
      if (node.needs(i)) dx[static_cast<size_t>(i)] = slice(dy[0], axis_, begin, end);
      begin = end;
    }
    return dx;
  }

  void run_cuda(Launch& l) const { cuda::concat(l, axis_); }

  void run_cpu(Launch& l) const {
    const AxisView y = axis_view(l.out[0].shape(), axis_);
    const int64_t inner = y.inner * static_cast<int64_t>(size_of(l.out[0].dtype()));
    int64_t begin = 0;
    for (const Tensor& tensor : l.in) {
      const int64_t length = tensor.size(axis_) * inner;
      const auto* from = static_cast<const std::byte*>(tensor.raw());
      auto* to = static_cast<std::byte*>(l.out[0].raw()) + begin;
      move_rows(l.context, y.outer, length, [&](int64_t row) { copy_bytes(to + row * y.extent * inner, from + row * length, length); });
      begin += length;
    }
  }

 private:
  int axis_;
};

}  // namespace

Tensor concat(std::span<const Tensor> tensors, int axis) {
  if (tensors.empty()) throw_shape("concat", "got no tensors");
  return tern::apply(std::make_shared<Concat>(tensors[0].shape().normalize_axis(axis)), tensors)[0];
}

}  // namespace tern
