#include "kernels/global_avg_pool/global_avg_pool.h"

#include "core/autograd.h"
#include "core/thread_pool.h"
#include "kernels/common/scratch.h"
#include "kernels/common/sum_rows.h"

namespace tern {
namespace cuda {  // global_avg_pool.cu
void global_avg_pool(Launch& launch);
void global_avg_pool_grad(Launch& launch);
}  // namespace cuda
namespace {

/// in: x. out: y.
class GlobalAvgPool final : public OpBase<GlobalAvgPool> {
 public:
  std::string_view name() const override { return "global_avg_pool"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context& context) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {}; }
  void run_cuda(Launch& launch) const { cuda::global_avg_pool(launch); }
  void run_cpu(Launch& launch) const;
};

/// in: dy. out: dx. The transpose of GlobalAvgPool, which is therefore its gradient.
class GlobalAvgPoolGrad final : public OpBase<GlobalAvgPoolGrad> {
 public:
  explicit GlobalAvgPoolGrad(Shape x) : x_(x) {}
  std::string_view name() const override { return "global_avg_pool_grad"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override { return {{in[0].dtype, x_}}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override {
    if (!dy[0].defined()) return {Tensor{}};
    return {global_avg_pool(dy[0])};
  }
  Saves saves(GradMask) const override { return {}; }
  void run_cuda(Launch& launch) const { cuda::global_avg_pool_grad(launch); }
  void run_cpu(Launch& launch) const;

 private:
  Shape x_;
};

std::vector<Spec> GlobalAvgPool::infer(std::span<const Spec> in) const {
  const Shape& x = in[0].shape;
  if (!is_floating(in[0].dtype)) throw_not_floating(name(), in[0].dtype);
  if (x.rank() != 4) throw_shape(name(), "x is " + x.str() + ", wants [N,H,W,C]");
  if (x.numel() == 0) throw_shape(name(), "x " + x.str() + " is empty");
  return {{in[0].dtype, {x[0], x[3]}}};
}

size_t GlobalAvgPool::workspace(std::span<const Spec> in, Context& context) const {
  if (context.device().kind == Device::Kind::cuda) return 0;
  // Enough for the wider f64 path too.
  return 2 * scratch_bytes<double>(in[0].shape[3] * context.pool().threads());
}

std::vector<Tensor> GlobalAvgPool::grad(const Node& node, std::span<const Tensor> dy) const {
  if (!dy[0].defined()) return {Tensor{}};
  return {apply_one(std::make_shared<GlobalAvgPoolGrad>(node.input_spec(0).shape), {dy[0]})};
}

void GlobalAvgPool::run_cpu(Launch& launch) const {
  const Shape& shape = launch.in[0].shape();
  const int64_t pixels = shape[1] * shape[2], channels = shape[3];
  const int64_t threads = launch.context.pool().threads();
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    Scratch scratch(launch.workspace);
    double* totals = scratch.take<double>(channels * threads);
    Acc* tiles = scratch.take<Acc>(channels * threads);
    launch.context.pool().parallel_for(shape[0], [&](int64_t image, int slot) {
      double* total = totals + slot * channels;
      Acc* sum = tiles + slot * channels;
      std::fill(total, total + channels, 0.0);
      const int64_t tile = row_tile(channels);
      for (int64_t begin = 0; begin < pixels; begin += tile) {
        const T* x = launch.in[0].data<T>() + (image * pixels + begin) * channels;
        sum_rows(sum, std::min(tile, pixels - begin), channels,
                 [=](int64_t r, int64_t c) { return static_cast<Acc>(x[r * channels + c]); });
        for (int64_t c = 0; c < channels; ++c) total[c] += static_cast<double>(sum[c]);
      }
      T* y = launch.out[0].data<T>() + image * channels;
      for (int64_t c = 0; c < channels; ++c)
        y[c] = static_cast<T>(static_cast<Acc>(total[c] / static_cast<double>(pixels)));
    });
  });
}

void GlobalAvgPoolGrad::run_cpu(Launch& launch) const {
  const int64_t pixels = x_[1] * x_[2], channels = x_[3];
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    launch.context.pool().parallel_for(x_[0], [&](int64_t image) {
      const T* dy = launch.in[0].data<T>() + image * channels;
      T* dx = launch.out[0].data<T>() + image * pixels * channels;
      for (int64_t c = 0; c < channels; ++c) dx[c] = static_cast<T>(static_cast<Acc>(dy[c]) / static_cast<Acc>(pixels));
      for (int64_t r = 1; r < pixels; ++r) std::copy(dx, dx + channels, dx + r * channels);
    });
  });
}

}  // namespace

Tensor global_avg_pool(const Tensor& x) { return apply_one(std::make_shared<GlobalAvgPool>(), {x}); }

}  // namespace tern
