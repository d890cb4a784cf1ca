#include "tools/lane_pass.h"

#include "core/autograd.h"
#include "core/final_gradients.h"
#include "kernels/flatten_into/flatten_then.h"
#include "kernels/ops.h"
#include "tools/model.h"

namespace tern {
namespace {

DType pass_dtype_of(Precision precision) {
  if (precision == Precision::fp16) return DType::f16;
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

struct GradientListener {
  explicit GradientListener(Context&, int64_t bucket = 0, std::function<void(int64_t)> ready = nullptr) : bucket(bucket), ready(std::move(ready)) {}
  int64_t bucket;
  std::function<void(int64_t)> ready;
};

}  // namespace

std::vector<Tensor> LanePass::Result::list() const {
  std::vector<Tensor> all{report, loss_bad};
  all.insert(all.end(), statistics.begin(), statistics.end());
  return all;
}

LanePass::LanePass(Context& context, const Config& config, data::PictureShape pictures, int64_t classes)
    : context_(context), normalize_(config.data.normalize), label_smoothing_(config.train.label_smoothing),
      mean_loss_(config.train.loss == LossSum::mean), pictures_(pictures),
      dtype_(pass_dtype_of(config.run.precision)),
      network_(build_model(context, config.model, {pictures.height, pictures.width, pictures.channels}, classes, config.run.seed)),
      store_(std::make_unique<ParameterStore>(context, network_->parameters(), dtype_)) {
  for (const Segment& segment : store_->segments()) offsets_.push_back(segment.begin);
  weights_changed();
  context.set_lane_size(config.train.micro_batch);
  context.set_defer_statistics(true);
}

void LanePass::make_resident(const data::Dataset& data, std::span<const data::Augment> augment) {
  const auto picture = static_cast<size_t>(pictures_.bytes());
  const int64_t size = data.size();
  std::vector<uint8_t> pixels(static_cast<size_t>(size) * picture);
  std::vector<int64_t> labels(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    data.read(i, std::span(pixels).subspan(static_cast<size_t>(i) * picture, picture));
    labels[static_cast<size_t>(i)] = data.label(i);
  }
  MemoryTag tag(context_, "data set");
  const Shape shape{size, static_cast<int64_t>(pictures_.height), static_cast<int64_t>(pictures_.width), static_cast<int64_t>(pictures_.channels)};
  resident_.emplace(Resident{Tensor::from(context_, shape, pixels), Tensor::from(context_, {size}, labels), {}});
  for (const data::Augment& step : augment) resident_->augment.steps.push_back(data::augment_step(step));
}

void LanePass::initialize_from(const data::Dataset& data) {
  if (!network_->wants_pictures()) return;
  const auto picture = static_cast<size_t>(pictures_.bytes());
  const Shape shape{std::min<int64_t>(data.size(), nn::Network::kWhiteningPictures), int64_t{pictures_.height}, int64_t{pictures_.width},
                    int64_t{pictures_.channels}};
  std::vector<uint8_t> pixels(picture);
  std::vector<float> values;
  values.reserve(static_cast<size_t>(shape.numel()));
  for (int64_t i = 0; i < shape[0]; ++i) {
    data.read(i, pixels);
    for (size_t j = 0; j < picture; ++j) {
      const size_t channel = j % static_cast<size_t>(pictures_.channels);
      values.push_back(static_cast<float>((pixels[j] / 255.0 - normalize_.mean[channel]) / normalize_.std[channel]));
    }
  }
  network_->initialize_from(values, shape);
  weights_changed();
}

void LanePass::weights_changed() {
  if (!store_->weights.defined()) return;
  NoGrad no_grad(context_);
  store_->weights.copy_from(cast(store_->master, dtype_));
}

LanePass::Result LanePass::run(std::span<const Tensor> in, const Tensor& loss_scale, const Tensor& gradient) {
  context_.enter_phase("forward");
  context_.set_rng_samples(in[0]);
  const Tensor images = resident_ ? augment_images(resident_->images, in[0], context_.rng_key(), resident_->augment) : in[2];
  const Tensor labels = resident_ ? gather(resident_->labels, in[0]) : in[3];
  const Tensor x = normalize_images(
      images, {.mean = {normalize_.mean.begin(), normalize_.mean.end()}, .std = {normalize_.std.begin(), normalize_.std.end()}, .dtype = dtype_});
  const PassWeights weights(*store_);
  const Tensor logits = cast((*network_)(x), DType::f32);
  const Tensor losses = cross_entropy(logits, labels, {.label_smoothing = label_smoothing_, .reduction = LossReduction::none});
  Result result;
  {
    NoGrad no_grad(context_);
    result.report = concat(std::vector{losses.detach(), cast(top_k_correct(logits.detach(), labels, 1), DType::f32)}, 0);
    result.loss_bad = has_nonfinite(losses.detach());
  }
  context_.enter_phase("backward");
  const Tensor seed = loss_scale.defined() ? mul(in[1], loss_scale) : in[1];
  flatten_gradients(losses, seed, gradient);
  result.statistics = network_->take_statistics();
  context_.set_rng_samples({});
  return result;
}

void LanePass::set_gradient_listener(int64_t bucket, std::function<void(int64_t)> ready) {
  context_.extension<GradientListener>() = GradientListener(context_, bucket, std::move(ready));
}

/// All at once, or in buckets, from the last layer's to the first's, as backward makes them.
void LanePass::flatten_gradients(const Tensor& losses, const Tensor& seed, const Tensor& gradient) {
  GradientListener& listener = context_.extension<GradientListener>();
  if (!listener.ready) return flatten_into(gradient, grad(std::span(&losses, 1), store_->handles(), std::span(&seed, 1)), offsets_);
  std::vector<Tensor> gradients(offsets_.size());
  size_t flat = offsets_.size();  // parameters from here on are in `gradient`
  grad_as_final(std::span(&losses, 1), store_->handles(), std::span(&seed, 1), [&](size_t input, const Tensor& final) {
    gradients[input] = final;
    size_t first = flat;
    while (first > 0 && gradients[first - 1].defined()) --first;
    const int64_t begin = first == 0 ? 0 : offsets_[first], end = flat == offsets_.size() ? store_->size() : offsets_[flat];
    if (first == flat || (first > 0 && end - begin < listener.bucket)) return;
    flatten_then(gradient, std::span(gradients).subspan(first, flat - first), std::span(offsets_).subspan(first, flat - first), [&listener, begin] { listener.ready(begin); });
    flat = first;
  });
}

std::vector<Tensor> LanePass::inputs_of(const data::Batch& batch, int64_t first, int64_t rows, int64_t pictures) const {
  const auto begin = static_cast<size_t>(first), count = static_cast<size_t>(rows);
  std::vector<Tensor> in{Tensor::from<int64_t>(context_, {rows}, std::span(batch.indices).subspan(begin, count)),
                         Tensor::full(context_, {rows}, mean_loss_ ? 1.0 / static_cast<double>(pictures) : 1.0)};
  if (resident_) return in;
  const auto picture = static_cast<size_t>(pictures_.bytes());
  const Shape shape{rows, static_cast<int64_t>(pictures_.height), static_cast<int64_t>(pictures_.width), static_cast<int64_t>(pictures_.channels)};
  in.push_back(Tensor::from<uint8_t>(context_, shape, std::span(batch.images).subspan(begin * picture, count * picture)));
  in.push_back(Tensor::from<int64_t>(context_, {rows}, std::span(batch.labels).subspan(begin, count)));
  return in;
}

std::vector<int64_t> LanePass::statistics_sizes() {
  NoGrad no_grad(context_);
  context_.set_rng_key(0, 0);
  context_.set_rng_samples(Tensor::zeros(context_, {1}, DType::i64));
  const PassWeights weights(*store_);
  (*network_)(Tensor::zeros(context_, {1, pictures_.height, pictures_.width, pictures_.channels}, dtype_));
  context_.set_rng_samples({});
  std::vector<int64_t> sizes;
  for (const Tensor& statistic : network_->take_statistics()) sizes.push_back(statistic.size(1));
  return sizes;
}

}  // namespace tern
