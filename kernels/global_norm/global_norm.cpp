#include "kernels/global_norm/global_norm.h"

#include <cmath>

#include "core/op.h"
#include "kernels/common/check.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/parallel.h"
#include "kernels/common/scratch.h"

namespace tern {
namespace cuda {
void global_norm(Launch& launch);  // global_norm.cu
}
namespace {

constexpr int64_t kBlock = 8192;  // elements summed by one task
constexpr int64_t kSums = 16;     // running sums of a block: enough for vectors of any width, the same for all

double sum_of_squares(const float* x, int64_t count) {
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums)
    for (int64_t j = 0; j < kSums; ++j) sums[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  for (int64_t j = 0; i + j < count; ++j) sums[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  double sum = 0;
  for (double part : sums) sum += part;
  return sum;
}

class GlobalNormOp final : public OpBase<GlobalNormOp> {
 public:
  std::string_view name() const override { return "global_norm"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    if (in[0].dtype != DType::f32) throw_dtype(name(), "x is " + in[0].str() + ", wants f32");
    return {{DType::f32, {1}}, {DType::f32, {1}}};
  }
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if (context.device().kind == Device::Kind::cuda)
      return reduce_workspace<double, float>(context, LaneReduction(in[0].shape, AxisMask().set(), 0));
    return scratch_bytes<double>(blocks(in[0].numel()));
  }
  bool differentiable() const override { return false; }

  void run_cpu(Launch& l) const {
    const int64_t count = l.in[0].numel();
    const float* x = l.in[0].data<float>();
    double* sums = Scratch(l.workspace).take<double>(blocks(count));
    for_chunks(l.context, count, [&](int64_t begin, int64_t end) { sums[begin / kBlock] = sum_of_squares(x + begin, end - begin); }, kBlock);
    double sum = 0;
    for (int64_t i = 0; i < blocks(count); ++i) sum += sums[i];
    l.out[0].data<float>()[0] = static_cast<float>(std::sqrt(sum));
    // Squares of f32 do not overflow f64: the sum is finite exactly when every element is.
    l.out[1].data<float>()[0] = std::isfinite(sum) ? 0.0f : 1.0f;
  }
  void run_cuda(Launch& launch) const { cuda::global_norm(launch); }

 private:
  static int64_t blocks(int64_t count) { return (count + kBlock - 1) / kBlock; }
};

}  // namespace

GlobalNorm global_norm(const Tensor& x) {
  const std::vector<Tensor> out = tern::apply(std::make_shared<GlobalNormOp>(), std::span(&x, 1));
  return {out[0], out[1]};
}

}  // namespace tern
