#include "kernels/avg_pool2d/avg_pool2d.h"

#include "core/autograd.h"
#include "kernels/common/loops.h"
#include "kernels/common/window.h"

namespace tern {
namespace cuda {  // avg_pool2d.cu
void avg_pool2d(Launch& launch, const Window& window, bool count_include_pad);
void avg_pool2d_grad(Launch& launch, const Window& window, bool count_include_pad);
}  // namespace cuda
namespace {

Window window_of(const AvgPool2d& options, const Shape& x) {
  return make_window("avg_pool2d", options.kernel, options.stride, options.padding, x);
}

/// in: x. out: y.
class AvgPool2dOp final : public OpBase<AvgPool2dOp> {
 public:
  explicit AvgPool2dOp(AvgPool2d options) : options_(options) {}
  std::string_view name() const override { return "avg_pool2d"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {}; }
  void run_cuda(Launch& launch) const {
    cuda::avg_pool2d(launch, window_of(options_, launch.in[0].shape()), options_.count_include_pad);
  }
  void run_cpu(Launch& launch) const;

 private:
  AvgPool2d options_;
};

/// in: dy. out: dx. The transpose of AvgPool2dOp, which is therefore its gradient.
class AvgPool2dGrad final : public OpBase<AvgPool2dGrad> {
 public:
  AvgPool2dGrad(AvgPool2d options, Shape x) : options_(options), x_(x) {}
  std::string_view name() const override { return "avg_pool2d_grad"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override { return {{in[0].dtype, x_}}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override {
    if (!dy[0].defined()) return {Tensor{}};
    return {avg_pool2d(dy[0], options_)};
  }
  Saves saves(GradMask) const override { return {}; }
  void run_cuda(Launch& launch) const {
    cuda::avg_pool2d_grad(launch, window_of(options_, x_), options_.count_include_pad);
  }
  void run_cpu(Launch& launch) const;

 private:
  AvgPool2d options_;
  Shape x_;
};

std::vector<Spec> AvgPool2dOp::infer(std::span<const Spec> in) const {
  if (!is_floating(in[0].dtype)) throw_not_floating(name(), in[0].dtype);
  return {{in[0].dtype, window_of(options_, in[0].shape).out()}};
}

std::vector<Tensor> AvgPool2dOp::grad(const Node& node, std::span<const Tensor> dy) const {
  if (!dy[0].defined()) return {Tensor{}};
  return {apply_one(std::make_shared<AvgPool2dGrad>(options_, node.input_spec(0).shape), {dy[0]})};
}

void AvgPool2dOp::run_cpu(Launch& launch) const {
  const Window w = window_of(options_, launch.in[0].shape());
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    const T* x = launch.in[0].data<T>();
    T* y = launch.out[0].data<T>();
    for_output_pixels(launch.context, w, [&](int64_t image, int64_t i, int64_t j) {
      constexpr int64_t kBlock = 64;
      const Acc count = static_cast<Acc>(w.values_in(i, j, options_.count_include_pad));
      for (int64_t begin = 0; begin < w.c; begin += kBlock) {
        const int64_t channels = std::min(kBlock, w.c - begin);
        Acc sum[kBlock] = {};
        for_window(w, i, j, [&](int64_t r, int64_t s) {
          const T* from = x + w.x_at(image, r, s) + begin;
          for (int64_t c = 0; c < channels; ++c) sum[c] += static_cast<Acc>(from[c]);
        });
        T* to = y + w.y_at(image, i, j) + begin;
        for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<T>(sum[c] / count);
      }
    });
  });
}

void AvgPool2dGrad::run_cpu(Launch& launch) const {
  const Window w = window_of(options_, x_);
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    const T* dy = launch.in[0].data<T>();
    T* dx = launch.out[0].data<T>();
    // Windows may overlap, so a picture belongs to one thread, and its windows add in their order.
    launch.context.pool().parallel_for(w.n, [&](int64_t image) {
      std::fill(dx + w.x_at(image, 0, 0), dx + w.x_at(image + 1, 0, 0), T{});
      for (int64_t i = 0; i < w.p; ++i) {
        for (int64_t j = 0; j < w.q; ++j) {
          const Acc count = static_cast<Acc>(w.values_in(i, j, options_.count_include_pad));
          const T* g = dy + w.y_at(image, i, j);
          for_window(w, i, j, [&](int64_t r, int64_t s) {
            T* to = dx + w.x_at(image, r, s);
            TERN_INDEPENDENT
            for (int64_t c = 0; c < w.c; ++c)
              to[c] = static_cast<T>(static_cast<Acc>(to[c]) + static_cast<Acc>(g[c]) / count);
          });
        }
      }
    });
  });
}

}  // namespace

Tensor avg_pool2d(const Tensor& x, AvgPool2d options) { return apply_one(std::make_shared<AvgPool2dOp>(options), {x}); }

}  // namespace tern
