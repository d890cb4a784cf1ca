#include "kernels/cross_entropy/cross_entropy.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/lanes.h"
#include "kernels/common/parameter.h"
#include "kernels/common/scratch.h"
#include "kernels/common/softmax_rows.h"

namespace tern {
namespace cuda {  // cross_entropy.cu
void cross_entropy(Launch& launch, const CrossEntropy& options, int64_t lane_size);
void cross_entropy_grad(Launch& launch, const CrossEntropy& options);
}  // namespace cuda
namespace {

/// in: logits, labels. out: loss.
class CrossEntropyOp final : public OpBase<CrossEntropyOp> {
 public:
  CrossEntropyOp(CrossEntropy options, int64_t lane_size) : options_(options), lane_size_(lane_size) {}
  std::string_view name() const override { return "cross_entropy"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context&) const override {
    return scratch_bytes<double>(in[0].shape[0]) + scratch_bytes<double>(Lanes{in[0].shape[0], lane_size_}.count());
  }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {GradMask(0b11), {}}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::cross_entropy(launch, options_, lane_size_); }

 private:
  CrossEntropy options_;
  int64_t lane_size_;
};

/// in: logits, labels, dy. out: dlogits = (softmax - target) * dy. The softmax is computed again: rows are short, and
/// keeping it would cost as much memory as the logits.
class CrossEntropyGrad final : public OpBase<CrossEntropyGrad> {
 public:
  explicit CrossEntropyGrad(CrossEntropy options) : options_(options) {}
  std::string_view name() const override { return "cross_entropy_grad"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override { return {in[0]}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::cross_entropy_grad(launch, options_); }

 private:
  CrossEntropy options_;
};

std::vector<Spec> CrossEntropyOp::infer(std::span<const Spec> in) const {
  const Spec& logits = in[0];
  if (!is_floating(logits.dtype)) throw_not_floating(name(), logits.dtype);
  if (logits.shape.rank() != 2) throw_shape(name(), "logits are " + logits.shape.str() + ", wants [N,C]");
  if (logits.numel() == 0) throw_shape(name(), "logits " + logits.shape.str() + " are empty");
  if (in[1].dtype != DType::i64) throw_dtype(name(), "labels are " + std::string(name_of(in[1].dtype)) + ", wants i64");
  if (in[1].shape != Shape{logits.shape[0]})
    throw_shape(name(), "labels are " + in[1].shape.str() + " for logits " + logits.shape.str());
  const DType dtype = compute_dtype(logits.dtype);
  if (options_.reduction == LossReduction::none) return {{dtype, {logits.shape[0]}}};
  return {{dtype, {}}};
}

std::vector<Tensor> CrossEntropyOp::grad(const Node& node, std::span<const Tensor> dy) const {
  if (!dy[0].defined()) return {Tensor{}, Tensor{}};
  return {apply_one(std::make_shared<CrossEntropyGrad>(options_), {node.input(0), node.input(1), dy[0]}), Tensor{}};
}

template <class T>
double row_loss(const T* x, int64_t classes, int64_t label, double smoothing) {
  const LogSumExp sums = log_sum_exp(x, classes, 1);
  const auto minus_log_p = [&](int64_t c) { return -sums.log_softmax(static_cast<double>(load_element(x[c]))); };
  if (smoothing == 0) return minus_log_p(label);
  double even = 0;
  for (int64_t c = 0; c < classes; ++c) even += minus_log_p(c);
  return (1 - smoothing) * minus_log_p(label) + smoothing / static_cast<double>(classes) * even;
}

void CrossEntropyOp::run_cpu(Launch& launch) const {
  const int64_t rows = launch.in[0].size(0), classes = launch.in[0].size(1);
  const int64_t* labels = launch.in[1].data<int64_t>();
  const Lanes lanes{rows, lane_size_};
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    Scratch scratch(launch.workspace);
    const T* logits = launch.in[0].data<T>();
    const bool reduces = options_.reduction != LossReduction::none;
    Acc* losses = reduces ? scratch.take<Acc>(rows) : launch.out[0].data<Acc>();
    for_chunks(
        launch.context, rows,
        [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            if (labels[r] < 0 || labels[r] >= classes)
              throw DataError("[cross_entropy] the label of row " + std::to_string(r) + " is " +
                              std::to_string(labels[r]) + ", wants 0.." + std::to_string(classes - 1));
            losses[r] = static_cast<Acc>(row_loss(logits + r * classes, classes, labels[r], options_.label_smoothing));
          }
        },
        std::max<int64_t>(1, 2048 / classes));
    if (!reduces) return;
    Acc* sums = scratch.take<Acc>(lanes.count());
    for (int64_t lane = 0; lane < lanes.count(); ++lane) {
      double sum = 0;
      for (int64_t r = lanes.begin(lane); r < lanes.end(lane); ++r) sum += static_cast<double>(losses[r]);
      sums[lane] = static_cast<Acc>(sum);
    }
    tree_sum(sums, lanes.count(), 1, 1);
    const Acc divisor = options_.reduction == LossReduction::mean ? static_cast<Acc>(rows) : Acc{1};
    *launch.out[0].data<Acc>() = sums[0] / divisor;
  });
}

void CrossEntropyGrad::run_cpu(Launch& launch) const {
  const int64_t rows = launch.in[0].size(0), classes = launch.in[0].size(1);
  const int64_t* labels = launch.in[1].data<int64_t>();
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    const T* logits = launch.in[0].data<T>();
    const Acc* dy = launch.in[2].data<Acc>();
    T* dx = launch.out[0].data<T>();
    const double even = options_.label_smoothing / static_cast<double>(classes);
    const double divisor = options_.reduction == LossReduction::mean ? static_cast<double>(rows) : 1.0;
    for_chunks(
        launch.context, rows,
        [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const T* x = logits + r * classes;
            const LogSumExp sums = log_sum_exp(x, classes, 1);
            const double scale = static_cast<double>(dy[options_.reduction == LossReduction::none ? r : 0]) / divisor;
            for (int64_t c = 0; c < classes; ++c) {
              const double p = std::exp(sums.log_softmax(static_cast<double>(load_element(x[c]))));
              const double target = even + (c == labels[r] ? 1 - options_.label_smoothing : 0.0);
              dx[r * classes + c] = static_cast<T>(static_cast<Acc>((p - target) * scale));
            }
          }
        },
        std::max<int64_t>(1, 2048 / classes));
  });
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, CrossEntropy options) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    throw ConfigError("[cross_entropy] label_smoothing is " + std::to_string(options.label_smoothing) + ", wants 0..1");
  const int64_t lane_size = logits.defined() ? logits.context().lane_size() : 0;
  return apply_one(std::make_shared<CrossEntropyOp>(options, lane_size), {logits, labels});
}

}  // namespace tern
