#include "kernels/conv2d/conv2d.h"

#include <memory>

#include "core/autograd.h"
#include "core/op.h"
#include "core/thread_pool.h"
#include "kernels/bias_grad/bias_grad.h"
#include "kernels/common/on_cuda.h"
#include "kernels/common/scratch.h"
#include "kernels/conv2d/conv2d_f32.h"
#include "kernels/conv2d/conv2d_job.h"
#include "kernels/conv2d/conv2d_loops.h"
#include "kernels/conv2d/geometry.h"

namespace tern {
namespace cuda {
// conv2d_cuda.cpp
size_t conv_workspace(Context& context, const ConvJob& job);
void run_conv(Launch& launch, const ConvJob& job);
}  // namespace cuda
namespace {

void check_dtypes(std::string_view op, std::span<const Spec> in) {
  if (!is_floating(in[0].dtype)) throw_not_floating(op, in[0].dtype);
  for (const Spec& spec : in)
    if (spec.dtype != in[0].dtype) throw_dtype(op, "got " + in[0].str() + " and " + spec.str() + ", wants one dtype");
}

/// Calls `f(T{})` for the dtypes that run as plain loops.
template <class F>
void dispatch_loops(std::string_view op, DType dtype, F&& f) {
  dispatch_floating(op, dtype, [&](auto t) {
    if constexpr (sizeof(t) != sizeof(float)) f(t);
  });
}

Pair rows_and_cols(const Spec& spec) { return {spec.shape[1], spec.shape[2]}; }

class Conv2dOp final : public OpBase<Conv2dOp> {
 public:
  explicit Conv2dOp(const Conv2d& options) : options_(options) {}
  std::string_view name() const override { return "conv2d"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    check_dtypes(name(), in);
    const ConvShape shape = shape_of(in[0], in[1]);
    if (in.size() > 2 && in[2].shape != Shape{shape.k})
      throw_shape(name(), "bias is " + in[2].shape.str() + " but w has K=" + std::to_string(shape.k));
    return {{in[0].dtype, shape.y_shape()}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if constexpr (kCudaBuild)
      if (on_cuda(context)) return cuda::conv_workspace(context, job_of(in[0], in[1], in.size() > 2));
    if (in[0].dtype != DType::f32) return 0;
    return conv2d_f32_workspace(shape_of(in[0], in[1]), context.pool().threads());
  }

  void run_cuda(Launch& l) const { cuda::run_conv(l, job_of(l.in[0].spec(), l.in[1].spec(), l.in.size() > 2)); }

  void run_cpu(Launch& l) const {
    const ConvShape shape = shape_of(l.in[0].spec(), l.in[1].spec());
    ThreadPool& pool = l.context.pool();
    if (l.in[0].dtype() == DType::f32) {
      const float* bias = l.in.size() > 2 ? l.in[2].data<float>() : nullptr;
      return conv2d_f32(shape, l.in[0].data<float>(), l.in[1].data<float>(), bias, l.out[0].data<float>(), l.workspace,
                        pool);
    }
    dispatch_loops(name(), l.in[0].dtype(), [&](auto t) {
      using T = decltype(t);
      const T* bias = l.in.size() > 2 ? l.in[2].data<T>() : nullptr;
      conv2d_loops(shape, l.in[0].data<T>(), l.in[1].data<T>(), bias, l.out[0].data<T>(), pool);
    });
  }

  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    std::vector<Tensor> grads(static_cast<size_t>(node.input_count()));
    if (node.needs(0)) grads[0] = conv2d_dgrad(dy[0], node.input(1), rows_and_cols(node.input_spec(0)), options_);
    if (node.needs(1)) grads[1] = conv2d_wgrad(node.input(0), dy[0], rows_and_cols(node.input_spec(1)), options_);
    if (grads.size() > 2 && node.needs(2)) grads[2] = bias_grad(dy[0]);
    return grads;
  }

 private:
  ConvShape shape_of(const Spec& x, const Spec& w) const { return conv_shape(name(), x.shape, w.shape, options_); }
  ConvJob job_of(const Spec& x, const Spec& w, bool bias) const {
    return {.pass = ConvPass::forward, .dtype = x.dtype, .shape = shape_of(x, w), .bias = bias};
  }
  Conv2d options_;
};

class Conv2dDgrad final : public OpBase<Conv2dDgrad> {
 public:
  Conv2dDgrad(Pair picture, const Conv2d& options) : picture_(picture), options_(options) {}
  std::string_view name() const override { return "conv2d_dgrad"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    check_dtypes(name(), in);
    return {{in[0].dtype, shape_of(in[0], in[1]).x_shape()}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if constexpr (kCudaBuild)
      if (on_cuda(context)) return cuda::conv_workspace(context, job_of(in[0], in[1]));
    if (in[0].dtype != DType::f32) return 0;
    return conv2d_dgrad_f32_workspace(shape_of(in[0], in[1]), context.pool().threads());
  }

  void run_cuda(Launch& l) const { cuda::run_conv(l, job_of(l.in[0].spec(), l.in[1].spec())); }

  void run_cpu(Launch& l) const {
    const ConvShape shape = shape_of(l.in[0].spec(), l.in[1].spec());
    ThreadPool& pool = l.context.pool();
    if (l.in[0].dtype() == DType::f32)
      return conv2d_dgrad_f32(shape, l.in[0].data<float>(), l.in[1].data<float>(), l.out[0].data<float>(), l.workspace,
                              pool);
    dispatch_loops(name(), l.in[0].dtype(), [&](auto t) {
      using T = decltype(t);
      conv2d_dgrad_loops(shape, l.in[0].data<T>(), l.in[1].data<T>(), l.out[0].data<T>(), pool);
    });
  }

  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }

  /// dx is linear in dy and in w: its gradients are the other two passes.
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> g) const override {
    std::vector<Tensor> grads(2);
    if (node.needs(0)) grads[0] = conv2d(g[0], node.input(1), options_);
    if (node.needs(1)) grads[1] = conv2d_wgrad(g[0], node.input(0), rows_and_cols(node.input_spec(1)), options_);
    return grads;
  }

 private:
  ConvShape shape_of(const Spec& dy, const Spec& w) const {
    if (dy.shape.rank() != 4) throw_shape(name(), "dy is " + dy.shape.str() + ", wants [N,P,Q,K]");
    if (w.shape.rank() != 4) throw_shape(name(), "w is " + w.shape.str() + ", wants [K,R,S,C/groups]");
    const Shape x{dy.shape[0], picture_.h, picture_.w, w.shape[3] * options_.groups};
    const ConvShape shape = conv_shape(name(), x, w.shape, options_);
    if (dy.shape != shape.y_shape())
      throw_shape(name(), "dy is " + dy.shape.str() + ", wants " + shape.y_shape().str());
    return shape;
  }
  ConvJob job_of(const Spec& dy, const Spec& w) const {
    return {.pass = ConvPass::dgrad, .dtype = dy.dtype, .shape = shape_of(dy, w)};
  }
  Pair picture_;
  Conv2d options_;
};

class Conv2dWgrad final : public OpBase<Conv2dWgrad> {
 public:
  Conv2dWgrad(Pair filter, int64_t lane_size, const Conv2d& options)
      : filter_(filter), lane_size_(lane_size), options_(options) {}
  std::string_view name() const override { return "conv2d_wgrad"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    check_dtypes(name(), in);
    return {{in[0].dtype, shape_of(in[0], in[1]).w_shape()}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if constexpr (kCudaBuild)
      if (on_cuda(context)) return cuda::conv_workspace(context, job_of(in[0], in[1]));
    const ConvShape shape = shape_of(in[0], in[1]);
    if (in[0].dtype == DType::f32) return conv2d_wgrad_f32_workspace(shape, lane_size_, context.pool().threads());
    const int64_t sums = Lanes{shape.n, lane_size_}.count() * shape.w_shape().numel();
    return in[0].dtype == DType::f64 ? scratch_bytes<double>(sums) : scratch_bytes<float>(sums);
  }

  /// Sums over all lanes at once: on a GPU folded lanes and lanes one after another agree within rounding (D5).
  void run_cuda(Launch& l) const { cuda::run_conv(l, job_of(l.in[0].spec(), l.in[1].spec())); }

  void run_cpu(Launch& l) const {
    const ConvShape shape = shape_of(l.in[0].spec(), l.in[1].spec());
    ThreadPool& pool = l.context.pool();
    if (l.in[0].dtype() == DType::f32)
      return conv2d_wgrad_f32(shape, lane_size_, l.in[0].data<float>(), l.in[1].data<float>(), l.out[0].data<float>(),
                              l.workspace, pool);
    dispatch_loops(name(), l.in[0].dtype(), [&](auto t) {
      using T = decltype(t);
      conv2d_wgrad_loops(shape, {shape.n, lane_size_}, l.in[0].data<T>(), l.in[1].data<T>(),
                         Scratch(l.workspace).take<Accumulator<T>>(0), l.out[0].data<T>(), pool);
    });
  }

  Saves saves(GradMask needs) const override {
    Saves saves;
    saves.inputs[0] = needs[1];
    saves.inputs[1] = needs[0];
    return saves;
  }

  /// dw is linear in x and in dy: its gradients are the other two passes.
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> g) const override {
    std::vector<Tensor> grads(2);
    if (node.needs(0)) grads[0] = conv2d_dgrad(node.input(1), g[0], rows_and_cols(node.input_spec(0)), options_);
    if (node.needs(1)) grads[1] = conv2d(node.input(0), g[0], options_);
    return grads;
  }

 private:
  ConvShape shape_of(const Spec& x, const Spec& dy) const {
    if (x.shape.rank() != 4) throw_shape(name(), "x is " + x.shape.str() + ", wants [N,H,W,C]");
    if (dy.shape.rank() != 4) throw_shape(name(), "dy is " + dy.shape.str() + ", wants [N,P,Q,K]");
    if (options_.groups < 1 || x.shape[3] % options_.groups != 0)
      throw_shape(name(), "x has C=" + std::to_string(x.shape[3]) +
                              ", wants a multiple of groups=" + std::to_string(options_.groups));
    const Shape w{dy.shape[3], filter_.h, filter_.w, x.shape[3] / options_.groups};
    const ConvShape shape = conv_shape(name(), x.shape, w, options_);
    if (dy.shape != shape.y_shape())
      throw_shape(name(), "dy is " + dy.shape.str() + ", wants " + shape.y_shape().str());
    return shape;
  }
  ConvJob job_of(const Spec& x, const Spec& dy) const {
    return {.pass = ConvPass::wgrad, .dtype = x.dtype, .shape = shape_of(x, dy)};
  }
  Pair filter_;
  int64_t lane_size_;
  Conv2d options_;
};

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2d& options) {
  return apply_one(std::make_shared<Conv2dOp>(options), {x, w});
}

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2d& options) {
  return apply_one(std::make_shared<Conv2dOp>(options), {x, w, bias});
}

Tensor conv2d_dgrad(const Tensor& dy, const Tensor& w, Pair picture, const Conv2d& options) {
  return apply_one(std::make_shared<Conv2dDgrad>(picture, options), {dy, w});
}

Tensor conv2d_wgrad(const Tensor& x, const Tensor& dy, Pair filter, const Conv2d& options) {
  return apply_one(std::make_shared<Conv2dWgrad>(filter, x.context().lane_size(), options), {x, dy});
}

}  // namespace tern
