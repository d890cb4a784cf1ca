#include "kernels/flatten_into/flatten_into.h"

#include "core/convert.h"
#include "core/error.h"
#include "core/op.h"
#include "kernels/common/parallel.h"
#include "kernels/flatten_into/flatten_then.h"

namespace tern {
namespace cuda {
void flatten_into(Launch& launch, std::span<const int64_t> offsets);  // flatten_into.cu
}
namespace {

/// in: the arena, then the tensors.
class FlattenInto final : public OpBase<FlattenInto> {
 public:
  explicit FlattenInto(std::span<const int64_t> offsets, std::function<void()> then = nullptr)
      : offsets_(offsets.begin(), offsets.end()), then_(std::move(then)) {}
  std::string_view name() const override { return "flatten_into"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    if (in[0].dtype != DType::f32 || in[0].shape.rank() != 1)
      throw_shape(name(), "arena is " + in[0].str() + ", wants f32[P]");
    if (in.size() != offsets_.size() + 1)
      throw_shape(name(), "got " + std::to_string(in.size() - 1) + " tensors and " + std::to_string(offsets_.size()) +
                              " offsets");
    for (size_t i = 0; i < offsets_.size(); ++i) {
      const Spec& tensor = in[i + 1];
      if (!is_floating(tensor.dtype)) throw_not_floating(name(), tensor.dtype);
      if (offsets_[i] < 0 || offsets_[i] > in[0].numel() - tensor.numel())
        throw_shape(name(), "tensor " + std::to_string(i) + ", " + tensor.str() + ", does not fit into " + in[0].str() +
                                " at " + std::to_string(offsets_[i]));
    }
    return {in[0]};
  }
  std::optional<Alias> alias(int, std::span<const Spec>) const override { return Alias{.input = 0, .writes = true}; }
  bool differentiable() const override { return false; }
  void run_cuda(Launch& l) const { cuda::flatten_into(l, offsets_); }
  void run_cpu(Launch& l) const {
    float* arena = l.out[0].data<float>();
    l.context.pool().parallel_for(static_cast<int64_t>(offsets_.size()), [&](int64_t i) {
      const Tensor& tensor = l.in[static_cast<size_t>(i) + 1];
      float* to = arena + offsets_[static_cast<size_t>(i)];
      dispatch_floating(name(), tensor.dtype(), [&](auto t) {
        const auto* from = tensor.data<decltype(t)>();
        for_chunks(l.context, tensor.numel(), [&](int64_t begin, int64_t end) {
          for (int64_t k = begin; k < end; ++k) to[k] = static_cast<float>(load_element(from[k]));
        });
      });
    });
    if (then_) then_();
  }

 private:
  std::vector<int64_t> offsets_;
  std::function<void()> then_;
};

void apply_flatten(const Tensor& arena, std::span<const Tensor> tensors, std::shared_ptr<const Op> op) {
  NoGrad guard(arena.context());
  std::vector<Tensor> in{arena};
  in.insert(in.end(), tensors.begin(), tensors.end());
  tern::apply(std::move(op), in);
}

}  // namespace

void flatten_into(const Tensor& arena, std::span<const Tensor> tensors, std::span<const int64_t> offsets) {
  apply_flatten(arena, tensors, std::make_shared<FlattenInto>(offsets));
}

void flatten_then(const Tensor& arena, std::span<const Tensor> tensors, std::span<const int64_t> offsets, std::function<void()> then) {
  if (arena.context().device().kind != Device::Kind::cpu) throw DeviceError("[flatten_then] only the CPU calls back");
  apply_flatten(arena, tensors, std::make_shared<FlattenInto>(offsets, std::move(then)));
}

}  // namespace tern
