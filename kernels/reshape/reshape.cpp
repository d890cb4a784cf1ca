#include "kernels/reshape/reshape.h"

#include <algorithm>
#include <vector>

#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/check.h"

namespace tern {
namespace {

class Reshape final : public OpBase<Reshape> {
 public:
  explicit Reshape(const Shape& shape) : shape_(shape) {}
  std::string_view name() const override { return "reshape"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    if (in[0].numel() != shape_.numel())
      throw_shape(name(), "got " + in[0].str() + " of " + std::to_string(in[0].numel()) + " elements, wants " +
                              shape_.str() + " of " + std::to_string(shape_.numel()));
    return {{in[0].dtype, shape_}};
  }
  std::optional<Alias> alias(int, std::span<const Spec>) const override { return Alias{}; }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {reshape(dy[0], node.input_spec(0).shape)};
  }
  void run_cpu(Launch&) const {}  // a view: never called
  void run_cuda(Launch&) const {}

 private:
  Shape shape_;
};

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) { return apply_one(std::make_shared<Reshape>(shape), {x}); }

Tensor reshape(const Tensor& x, std::initializer_list<int64_t> extents) {
  std::vector<int64_t> full(extents);
  const auto open = std::find(full.begin(), full.end(), -1);
  if (open != full.end()) {
    int64_t known = 1;
    for (auto it = full.begin(); it != full.end(); ++it)
      if (it != open) known *= *it;
    if (known <= 0 || x.numel() % known != 0)
      throw_shape("reshape", "no extent in place of -1 makes the " + std::to_string(x.numel()) + " elements of " +
                                 x.shape().str() + " a multiple of " + std::to_string(known));
    *open = x.numel() / known;
  }
  return reshape(x, Shape(full));
}

Tensor flatten(const Tensor& x, int first_axis) {
  const int axis = x.shape().normalize_axis(first_axis);
  const auto extents = x.shape().extents();
  std::vector<int64_t> kept(extents.begin(), extents.begin() + axis);
  int64_t rest = 1;
  for (int64_t extent : extents.subspan(static_cast<size_t>(axis))) rest *= extent;
  kept.push_back(rest);
  return reshape(x, Shape(kept));
}

}  // namespace tern
