#include "kernels/softmax/softmax.h"

#include "core/autograd.h"
#include "kernels/common/softmax_rows.h"
#include "kernels/mul/mul.h"
#include "kernels/sub/sub.h"
#include "kernels/sum/sum.h"

namespace tern {
namespace cuda {
void softmax(Launch& launch, int axis);  // softmax.cu
}
namespace {

class Softmax final : public OpBase<Softmax> {
 public:
  explicit Softmax(int axis) : axis_(axis) {}
  std::string_view name() const override { return "softmax"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    check_softmax(name(), in[0], axis_);
    return {in[0]};
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    if (!dy[0].defined()) return {Tensor{}};
    const Tensor y = node.output(0);
    return {mul(y, sub(dy[0], sum(mul(y, dy[0]), {.axes = {axis_}, .keepdim = true})))};
  }
  Saves saves(GradMask) const override { return {{}, GradMask(1)}; }
  void run_cpu(Launch& launch) const {
    map_log_softmax(launch, name(), launch.in[0].shape().normalize_axis(axis_),
                    [](double log_p) { return std::exp(log_p); });
  }
  void run_cuda(Launch& launch) const { cuda::softmax(launch, launch.in[0].shape().normalize_axis(axis_)); }

 private:
  int axis_;
};

}  // namespace

Tensor softmax(const Tensor& x, int axis) { return apply_one(std::make_shared<Softmax>(axis), {x}); }

}  // namespace tern
