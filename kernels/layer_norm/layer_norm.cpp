#include "kernels/layer_norm/layer_norm.h"

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/lanes.h"
#include "kernels/common/parallel.h"
#include "kernels/common/parameter.h"
#include "kernels/common/scratch.h"
#include "kernels/common/sum_run.h"
#include "kernels/layer_norm/layer_norm_tasks.h"

namespace tern {
namespace cuda {  // layer_norm.cu; gamma and beta may be null
void layer_norm(Launch& launch, int64_t width, double eps, const Tensor* gamma, const Tensor* beta);
void layer_norm_grad(Launch& launch, const LayerNormTasks& cut, int64_t width, const Tensor* gamma);
}  // namespace cuda
namespace {

struct Setup {
  LayerNorm options;
  int64_t lane_size = 0;
  bool has_gamma = false;
  bool has_beta = false;

  Shape row_shape(const Shape& x) const { return Shape(x.extents().last(static_cast<size_t>(options.axes))); }
  int64_t width(const Shape& x) const { return row_shape(x).numel(); }
  /// A single row is one sample.
  Lanes lanes(const Shape& x) const { return options.axes == x.rank() ? Lanes{1, 0} : Lanes{x[0], lane_size}; }
  LayerNormTasks tasks(const Shape& x) const { return {lanes(x), x.numel() / width(x) / lanes(x).rows}; }
};

/// in: x, [gamma], [beta]. out: y; mean and rstd of each row.
class LayerNormOp final : public OpBase<LayerNormOp> {
 public:
  explicit LayerNormOp(Setup setup) : setup_(setup) {}
  std::string_view name() const override { return "layer_norm"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context&) const override {
    return 2 * scratch_bytes<double>(setup_.width(in[0].shape));
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {GradMask(setup_.has_gamma ? 0b11 : 0b01), GradMask(0b110)}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const {
    cuda::layer_norm(launch, setup_.width(launch.in[0].shape()), setup_.options.eps,
                     setup_.has_gamma ? &launch.in[1] : nullptr, setup_.has_beta ? &launch.in.back() : nullptr);
  }

 private:
  Setup setup_;
};

/// in: x, dy, mean, rstd, [gamma]. out: dgamma, dbeta, and dx when wanted.
class LayerNormGrad final : public OpBase<LayerNormGrad> {
 public:
  LayerNormGrad(Setup setup, DType parameters, bool wants_dx)
      : setup_(setup), parameters_(parameters), wants_dx_(wants_dx) {}
  std::string_view name() const override { return "layer_norm_grad"; }
  int visible_outputs() const override { return wants_dx_ ? 3 : 2; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context&) const override;
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const {
    const Shape& shape = launch.in[0].shape();
    cuda::layer_norm_grad(launch, setup_.tasks(shape), setup_.width(shape), setup_.has_gamma ? &launch.in[4] : nullptr);
  }

 private:
  Setup setup_;
  DType parameters_;
  bool wants_dx_;
};

std::vector<Spec> LayerNormOp::infer(std::span<const Spec> in) const {
  const Spec& x = in[0];
  if (!is_floating(x.dtype)) throw_not_floating(name(), x.dtype);
  if (setup_.options.axes < 1 || setup_.options.axes > x.shape.rank())
    throw_shape(name(),
                "x is " + x.shape.str() + ", a row wants its last " + std::to_string(setup_.options.axes) + " axes");
  if (x.numel() == 0) throw_shape(name(), "x " + x.shape.str() + " is empty");
  const Shape row = setup_.row_shape(x.shape);
  if (setup_.has_gamma) check_parameter(name(), "gamma", in[1], row, x.dtype);
  if (setup_.has_beta) check_parameter(name(), "beta", in[setup_.has_gamma ? 2 : 1], row, x.dtype);
  if (setup_.has_gamma && setup_.has_beta && in[1].dtype != in[2].dtype)
    throw_dtype(name(), "gamma is " + in[1].str() + " but beta is " + in[2].str());
  const Spec statistics{compute_dtype(x.dtype), {x.numel() / row.numel()}};
  return {x, statistics, statistics};
}

std::vector<Tensor> LayerNormOp::grad(const Node& node, std::span<const Tensor> dy) const {
  std::vector<Tensor> result(static_cast<size_t>(node.input_count()));
  if (!dy[0].defined()) return result;
  std::vector<Tensor> inputs = {node.input(0), dy[0], node.output(1), node.output(2)};
  if (setup_.has_gamma) inputs.push_back(node.input(1));
  const bool affine = node.input_count() > 1;
  const DType parameters = affine ? node.input_spec(1).dtype : compute_dtype(node.input_spec(0).dtype);
  const std::vector<Tensor> grads =
      tern::apply(std::make_shared<LayerNormGrad>(setup_, parameters, node.needs(0)), inputs);
  if (node.needs(0)) result[0] = grads[2];
  size_t at = 1;
  if (setup_.has_gamma) result[at++] = grads[0];
  if (setup_.has_beta) result[at] = grads[1];
  return result;
}

void LayerNormOp::run_cpu(Launch& launch) const {
  const Shape& shape = launch.in[0].shape();
  const int64_t width = setup_.width(shape), rows = shape.numel() / width;
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    Scratch scratch(launch.workspace);
    Acc* gamma = scratch.take<Acc>(width);
    Acc* beta = scratch.take<Acc>(width);
    std::fill(gamma, gamma + width, Acc{1});
    std::fill(beta, beta + width, Acc{0});
    if (setup_.has_gamma) load_parameter(launch.in[1], gamma);
    if (setup_.has_beta) load_parameter(launch.in[setup_.has_gamma ? 2 : 1], beta);
    Acc* means = launch.out[1].data<Acc>();
    Acc* rstds = launch.out[2].data<Acc>();
    for_chunks(
        launch.context, rows,
        [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const T* x = launch.in[0].data<T>() + r * width;
            T* y = launch.out[0].data<T>() + r * width;
            const double count = static_cast<double>(width);
            const Acc mean =
                static_cast<Acc>(sum_run<Acc>(width, [=](int64_t i) { return static_cast<Acc>(x[i]); }) / count);
            const double m2 = sum_run<Acc>(width, [=](int64_t i) {
              const Acc d = static_cast<Acc>(x[i]) - mean;
              return d * d;
            });
            const Acc rstd = static_cast<Acc>(1.0 / std::sqrt(m2 / count + setup_.options.eps));
            means[r] = mean;
            rstds[r] = rstd;
            TERN_INDEPENDENT
            for (int64_t i = 0; i < width; ++i)
              y[i] = static_cast<T>((static_cast<Acc>(x[i]) - mean) * rstd * gamma[i] + beta[i]);
          }
        },
        std::max<int64_t>(1, kElementChunk / width));
  });
}

std::vector<Spec> LayerNormGrad::infer(std::span<const Spec> in) const {
  if (in[0] != in[1]) throw_shape(name(), "x is " + in[0].str() + " but dy is " + in[1].str());
  const Spec parameter{parameters_, setup_.row_shape(in[0].shape)};
  if (wants_dx_) return {parameter, parameter, in[0]};
  return {parameter, parameter};
}

size_t LayerNormGrad::workspace(std::span<const Spec> in, Context& context) const {
  const int64_t width = setup_.width(in[0].shape);
  if (context.device().kind == Device::Kind::cuda)
    return scratch_bytes<double>(setup_.tasks(in[0].shape).partials(width));
  return scratch_bytes<double>(width) + scratch_bytes<double>(setup_.lanes(in[0].shape).count() * 2 * width);
}

/// The backward pass of one dtype.
template <class T>
struct Backward {
  using Acc = Accumulator<T>;
  const T* x;
  const T* dy;
  const Acc* mean;
  const Acc* rstd;
  const Acc* gamma;
  int64_t width;

  Acc normal(int64_t r, int64_t i) const { return (static_cast<Acc>(x[r * width + i]) - mean[r]) * rstd[r]; }

  void row(int64_t r, T* dx) const {
    const T* g = dy + r * width;
    const double count = static_cast<double>(width);
    const Acc offset =
        static_cast<Acc>(sum_run<Acc>(width, [&](int64_t i) { return static_cast<Acc>(g[i]) * gamma[i]; }) / count);
    const Acc slope = static_cast<Acc>(
        sum_run<Acc>(width, [&](int64_t i) { return static_cast<Acc>(g[i]) * gamma[i] * normal(r, i); }) / count);
    TERN_INDEPENDENT
    for (int64_t i = 0; i < width; ++i)
      dx[r * width + i] = static_cast<T>(rstd[r] * (static_cast<Acc>(g[i]) * gamma[i] - offset - normal(r, i) * slope));
  }

  static constexpr int64_t kStrip = 64;
  /// dgamma and dbeta of columns [column, column + count) over rows [begin, end): short f32 sums, added up in f64.
  void columns(int64_t begin, int64_t end, int64_t column, int64_t count, Acc* dgamma, Acc* dbeta) const {
    constexpr int64_t kRows = 32;
    double total_gamma[kStrip] = {}, total_beta[kStrip] = {};
    for (int64_t first = begin; first < end; first += kRows) {
      Acc sum_gamma[kStrip] = {}, sum_beta[kStrip] = {};
      for (int64_t r = first; r < std::min(end, first + kRows); ++r) {
        TERN_INDEPENDENT
        for (int64_t i = 0; i < count; ++i) {
          const Acc g = static_cast<Acc>(dy[r * width + column + i]);
          sum_gamma[i] += g * normal(r, column + i);
          sum_beta[i] += g;
        }
      }
      for (int64_t i = 0; i < count; ++i) total_gamma[i] += static_cast<double>(sum_gamma[i]);
      for (int64_t i = 0; i < count; ++i) total_beta[i] += static_cast<double>(sum_beta[i]);
    }
    for (int64_t i = 0; i < count; ++i) dgamma[column + i] = static_cast<Acc>(total_gamma[i]);
    for (int64_t i = 0; i < count; ++i) dbeta[column + i] = static_cast<Acc>(total_beta[i]);
  }
};

void LayerNormGrad::run_cpu(Launch& launch) const {
  const Shape& shape = launch.in[0].shape();
  const int64_t width = setup_.width(shape), rows = shape.numel() / width;
  const Lanes lanes = setup_.lanes(shape);
  const int64_t rows_per_sample = rows / lanes.rows;
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    Scratch scratch(launch.workspace);
    Acc* gamma = scratch.take<Acc>(width);
    Acc* leaves = scratch.take<Acc>(lanes.count() * 2 * width);
    std::fill(gamma, gamma + width, Acc{1});
    if (setup_.has_gamma) load_parameter(launch.in[4], gamma);
    const Backward<T> backward{launch.in[0].data<T>(),
                               launch.in[1].data<T>(),
                               launch.in[2].data<Acc>(),
                               launch.in[3].data<Acc>(),
                               gamma,
                               width};
    if (wants_dx_) {
      T* dx = launch.out[2].data<T>();
      for_chunks(
          launch.context, rows,
          [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; ++r) backward.row(r, dx);
          },
          std::max<int64_t>(1, kElementChunk / width));
    }
    const int64_t strips = (width + Backward<T>::kStrip - 1) / Backward<T>::kStrip;
    launch.context.pool().parallel_for(lanes.count() * strips, [&](int64_t task) {
      const int64_t lane = task / strips, column = task % strips * Backward<T>::kStrip;
      Acc* leaf = leaves + lane * 2 * width;
      backward.columns(lanes.begin(lane) * rows_per_sample, lanes.end(lane) * rows_per_sample, column,
                       std::min(Backward<T>::kStrip, width - column), leaf, leaf + width);
    });
    tree_sum(leaves, lanes.count(), 2 * width, 2 * width);
    store_parameter(leaves, launch.out[0]);
    store_parameter(leaves + width, launch.out[1]);
  });
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, LayerNorm options) {
  if (!(options.eps >= 0))
    throw ConfigError("[layer_norm] eps is " + std::to_string(options.eps) + ", wants 0 or more");
  const Setup setup{options, x.defined() ? x.context().lane_size() : 0, gamma.defined(), beta.defined()};
  std::vector<Tensor> inputs = {x};
  if (gamma.defined()) inputs.push_back(gamma);
  if (beta.defined()) inputs.push_back(beta);
  return tern::apply(std::make_shared<LayerNormOp>(setup), inputs)[0];
}

}  // namespace tern
