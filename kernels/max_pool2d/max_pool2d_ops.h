#pragma once
#include "core/autograd.h"
#include "core/op.h"
#include "kernels/common/window.h"
#include "kernels/max_pool2d/max_pool2d.h"

/// The ops behind max_pool2d.h.
namespace tern {

namespace cuda {  // max_pool2d.cu
void max_pool2d(Launch& launch, const Window& window);
void max_pool2d_grad(Launch& launch, const Window& window);
}  // namespace cuda

/// Calls `f` with the type that numbers the pixels of a window.
template <class F>
void dispatch_index(int64_t kernel, F&& f) {
  if (kernel <= 16)
    f(uint8_t{});
  else
    f(int32_t{});
}

/// in: x. out: y, and with_index: which pixel of its window each element came from.
class MaxPool2dOp final : public OpBase<MaxPool2dOp> {
 public:
  MaxPool2dOp(MaxPool2d options, bool with_index) : options_(options), with_index_(with_index) {}
  std::string_view name() const override { return "max_pool2d"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {{}, GradMask(0b10)}; }
  void run_cuda(Launch& launch) const { cuda::max_pool2d(launch, window(launch.in[0].shape())); }
  void run_cpu(Launch& launch) const;
  Window window(const Shape& x) const {
    return make_window("max_pool2d", options_.kernel, options_.stride, options_.padding, x);
  }

 private:
  MaxPool2d options_;
  bool with_index_;
};

/// in: dy, index. out: dx.
class MaxPool2dGrad final : public OpBase<MaxPool2dGrad> {
 public:
  MaxPool2dGrad(Window window, DType dtype) : window_(window), dtype_(dtype) {}
  std::string_view name() const override { return "max_pool2d_grad"; }
  std::vector<Spec> infer(std::span<const Spec>) const override {
    return {{dtype_, {window_.n, window_.h, window_.w, window_.c}}};
  }
  void run_cuda(Launch& launch) const { cuda::max_pool2d_grad(launch, window_); }
  void run_cpu(Launch& launch) const;

 private:
  Window window_;
  DType dtype_;
};

}  // namespace tern
