#include "kernels/log_softmax/log_softmax.h"

#include "core/autograd.h"
#include "kernels/common/softmax_rows.h"
#include "kernels/mul/mul.h"
#include "kernels/softmax/softmax.h"
#include "kernels/sub/sub.h"
#include "kernels/sum/sum.h"

namespace tern {
namespace cuda {
void log_softmax(Launch& launch, int axis);  // log_softmax.cu
}
namespace {

class LogSoftmax final : public OpBase<LogSoftmax> {
 public:
  explicit LogSoftmax(int axis) : axis_(axis) {}
  std::string_view name() const override { return "log_softmax"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    check_softmax(name(), in[0], axis_);
    return {in[0]};
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    if (!dy[0].defined()) return {Tensor{}};
    const Tensor total = sum(dy[0], {.axes = {axis_}, .keepdim = true});
    return {sub(dy[0], mul(softmax(node.input(0), axis_), total))};
  }
  Saves saves(GradMask) const override { return {GradMask(1), {}}; }
  void run_cpu(Launch& launch) const {
    map_log_softmax(launch, name(), launch.in[0].shape().normalize_axis(axis_), [](double log_p) { return log_p; });
  }
  void run_cuda(Launch& launch) const { cuda::log_softmax(launch, launch.in[0].shape().normalize_axis(axis_)); }

 private:
  int axis_;
};

}  // namespace

Tensor log_softmax(const Tensor& x, int axis) { return apply_one(std::make_shared<LogSoftmax>(axis), {x}); }

}  // namespace tern
