#include "kernels/log/log.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/vector_math.h"
#include "kernels/div/div.h"

namespace tern {
namespace cuda {
void log(Launch& launch);  // log.cu
}
namespace {

class Log final : public UnaryOp<Log> {
 public:
  std::string_view name() const override { return "log"; }
  std::optional<ChainStep> chain_step() const override { return ChainStep::unary(StepCode::log); }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    vector_math::log(x, y, count);
  }
  void run_cuda(Launch& launch) const { cuda::log(launch); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {div(dy[0], node.input(0))};
  }
};

}  // namespace

Tensor log(const Tensor& x) { return apply_one(std::make_shared<Log>(), {x}); }

}  // namespace tern
