#include "kernels/pad/pad.h"

#include "core/autograd.h"
#include "core/convert.h"
#include "core/op.h"
#include "kernels/common/blocks.h"
#include "kernels/common/check.h"
#include "kernels/pad/border.h"
#include "kernels/slice/slice.h"

namespace tern {
namespace cuda {  // pad.cu
void pad(Launch& launch, const Border& border);
void pad_reflect_grad(Launch& launch, const Border& border);
}  // namespace cuda
namespace {

Tensor pad_axis(const Tensor& x, const Border& border);
Tensor fold_axis(const Tensor& dy, const Border& border);

class PadAxis final : public OpBase<PadAxis> {
 public:
  explicit PadAxis(const Border& border) : b_(border) {}
  std::string_view name() const override { return "pad"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    const int64_t extent = in[0].shape[b_.axis];
    const std::string got = "got " + std::to_string(b_.before) + " before and " + std::to_string(b_.after) +
                            " after axis " + std::to_string(b_.axis) + " of " + in[0].str();
    if (b_.before < 0 || b_.after < 0) throw_shape(name(), got + ", wants none negative");
    if (b_.mode == PadMode::reflect && (b_.before >= extent || b_.after >= extent))
      throw_shape(name(), got + ", wants reflections shorter than the axis");
    return {{in[0].dtype, in[0].shape.with(b_.axis, extent + b_.before + b_.after)}};
  }
  Saves saves(GradMask) const override { return {}; }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    if (b_.mode == PadMode::reflect) return {fold_axis(dy[0], b_)};
    return {slice(dy[0], b_.axis, b_.before, b_.before + node.input_spec(0).shape[b_.axis])};
  }

  void run_cuda(Launch& l) const { cuda::pad(l, b_); }

  void run_cpu(Launch& l) const {
    const AxisView x = axis_view(l.in[0].shape(), b_.axis), y = axis_view(l.out[0].shape(), b_.axis);
    const int64_t inner = x.inner * static_cast<int64_t>(size_of(l.in[0].dtype()));
    const auto* from = static_cast<const std::byte*>(l.in[0].raw());
    auto* to = static_cast<std::byte*>(l.out[0].raw());
    move_rows(l.context, x.outer, y.extent * inner, [&](int64_t row) {
      const std::byte* source = from + row * x.extent * inner;
      std::byte* target = to + row * y.extent * inner;
      const auto border = [&](int64_t i, int64_t mirrored) {
        if (b_.mode == PadMode::zero)
          std::memset(target + i * inner, 0, static_cast<size_t>(inner));
        else
          copy_bytes(target + i * inner, source + mirrored * inner, inner);
      };
      for (int64_t i = 0; i < b_.before; ++i) border(i, b_.before - i);
      copy_bytes(target + b_.before * inner, source, x.extent * inner);
      for (int64_t i = 0; i < b_.after; ++i) border(b_.before + x.extent + i, x.extent - 2 - i);
    });
  }

 private:
  Border b_;
};

/// The gradient of a reflected border: what lies in it is added to the elements that it mirrors.
class FoldAxis final : public OpBase<FoldAxis> {
 public:
  explicit FoldAxis(const Border& border) : b_(border) {}
  std::string_view name() const override { return "pad_reflect_grad"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_same_floating(name(), in);
    return {{in[0].dtype, in[0].shape.with(b_.axis, in[0].shape[b_.axis] - b_.before - b_.after)}};
  }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dx) const override { return {pad_axis(dx[0], b_)}; }

  void run_cuda(Launch& l) const { cuda::pad_reflect_grad(l, b_); }

  void run_cpu(Launch& l) const {
    const AxisView x = axis_view(l.out[0].shape(), b_.axis), y = axis_view(l.in[0].shape(), b_.axis);
    dispatch_floating(name(), l.in[0].dtype(), [&](auto t) {
      using T = decltype(t);
      const T* dy = l.in[0].data<T>();
      T* dx = l.out[0].data<T>();
      move_rows(l.context, x.outer * x.extent, x.inner * static_cast<int64_t>(sizeof(T)), [&](int64_t row) {
        const int64_t i = row % x.extent, right = x.extent - 1 - i;  // distances from the two edges
        const T* base = dy + (row / x.extent * y.extent + b_.before) * x.inner;
        for (int64_t q = 0; q < x.inner; ++q) {
          Compute<T> sum = load_element(base[i * x.inner + q]);
          if (i >= 1 && i <= b_.before) sum += load_element(base[-i * x.inner + q]);
          if (right >= 1 && right <= b_.after) sum += load_element(base[(x.extent - 1 + right) * x.inner + q]);
          dx[row * x.inner + q] = store_element<T>(sum);
        }
      });
    });
  }

 private:
  Border b_;
};

Tensor pad_axis(const Tensor& x, const Border& border) { return apply_one(std::make_shared<PadAxis>(border), {x}); }
Tensor fold_axis(const Tensor& dy, const Border& border) { return apply_one(std::make_shared<FoldAxis>(border), {dy}); }

}  // namespace

Tensor pad(const Tensor& x, const Pad& options) {
  const auto rank = static_cast<size_t>(x.rank());
  if (options.before.size() != rank || options.after.size() != rank)
    throw_shape("pad", "got " + std::to_string(options.before.size()) + " and " + std::to_string(options.after.size()) +
                           " numbers for " + x.spec().str() + ", wants one an axis");
  require_elements("pad", std::span(&x.spec(), 1));
  Tensor y = x;
  for (size_t axis = 0; axis < rank; ++axis) {
    const Border border{static_cast<int>(axis), options.before[axis], options.after[axis], options.mode};
    if (border.before != 0 || border.after != 0) y = pad_axis(y, border);
  }
  return y;
}

}  // namespace tern
