#include "tools/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/ops.h"
#include "tools/data_loader.h"

namespace tern {
namespace {

Prediction predict(std::span<const float> logits, int64_t label) {
  Prediction p{.label = static_cast<int32_t>(label), .predicted = -1, .rank = 0, .loss = 0, .probability = 0};
  const double own = logits[static_cast<size_t>(label)];
  double largest = -INFINITY, sum = 0;
  bool numbers = true;
  for (size_t c = 0; c < logits.size(); ++c) {
    numbers &= !std::isnan(logits[c]);
    p.rank += logits[c] > own;
    if (logits[c] > largest || p.predicted < 0) {
      largest = logits[c];
      p.predicted = static_cast<int32_t>(c);
    }
  }
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  p.loss = static_cast<float>(std::log(sum) - (own - largest));
  p.probability = static_cast<float>(1 / sum);
  if (!numbers) {
    p.predicted = -1;
    p.rank = static_cast<int32_t>(logits.size());
  }
  return p;
}

/// Puts a network into evaluation mode while it lives.
class EvaluationMode {
 public:
  explicit EvaluationMode(nn::Module& network) : network_(network), before_(network.training()) { network.train(false); }
  ~EvaluationMode() { network_.train(before_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  nn::Module& network_;
  bool before_;
};

/// Logits of pictures x [N,H,W,C], with test-time augmentation.
Tensor logits_of(nn::Module& network, const Tensor& x, TtaName tta) {
  const Tensor logits = cast(network(x), DType::f32);
  if (tta == TtaName::none) return logits;
  const Tensor both_sides = mul(add(logits, cast(network(flip(x, {2})), DType::f32)), 0.5);
  if (tta == TtaName::flip) return both_sides;
  const int64_t height = x.size(1), width = x.size(2);
  const Tensor padded = pad(x, {.before = {0, 1, 1, 0}, .after = {0, 1, 1, 0}, .mode = PadMode::reflect});
  const auto shifted = [&](int64_t by) { return logits_of(network, slice(slice(padded, 1, by, by + height), 2, by, by + width), TtaName::flip); };
  return mul(add(both_sides, mul(add(shifted(0), shifted(2)), 0.5)), 0.5);
}

void summarize(Evaluation& evaluation) {
  double loss = 0;
  int64_t top1 = 0, top5 = 0;
  for (const Prediction& p : evaluation.predictions) {
    loss += p.loss;
    top1 += p.predicted == p.label;
    top5 += p.rank < 5;
  }
  const auto n = static_cast<double>(evaluation.predictions.size());
  evaluation.loss = loss / n;
  evaluation.top1 = static_cast<double>(top1) / n;
  evaluation.top5 = static_cast<double>(top5) / n;
}

}  // namespace

CompiledStep evaluation_step(Context& context, nn::Module& network, const EvaluationOptions& options) {
  const auto& mean = options.normalize.mean;
  const auto& std = options.normalize.std;
  const NormalizeImages normalization{.mean = {mean.begin(), mean.end()}, .std = {std.begin(), std.end()}, .dtype = options.dtype};
  return compile(
      context,
      [&network, normalization, tta = options.tta](std::span<const Tensor> in) {
        return std::vector<Tensor>{logits_of(network, normalize_images(in[0], normalization), tta)};
      },
      {.plan = options.plan, .arena = options.arena});
}

Evaluation evaluate(Context& context, nn::Module& network, const data::DatasetPtr& data, const EvaluationOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const EvaluationMode mode(network);
  NoGrad no_grad(context);
  const auto classes = static_cast<int64_t>(data->classes().size());
  CompiledStep step = evaluation_step(context, network, options);
  data::Loader loader(data, {{.micro_batch = static_cast<int>(options.batch), .lanes = 1, .shuffle = false}, options.loader_threads});
  loader.start(0);
  Evaluation evaluation{.classes = data->classes(), .predictions = {}};
  const data::PictureShape shape = data->shape();
  while (const data::Batch* batch = loader.next()) {
    const Tensor images = Tensor::from<uint8_t>(context, {batch->size(), shape.height, shape.width, shape.channels}, batch->images);
    const Tensor logits = step({images})[0];
    if (logits.shape() != Shape{batch->size(), classes})
      throw ConfigError("the network gives " + logits.shape().str() + " for " + std::to_string(batch->size()) + " pictures of " +
                        std::to_string(classes) + " classes");
    const std::vector<float> values = logits.to_vector<float>();
    for (int64_t i = 0; i < batch->size(); ++i)
      evaluation.predictions.push_back(
          predict(std::span(values).subspan(static_cast<size_t>(i * classes), static_cast<size_t>(classes)), batch->labels[static_cast<size_t>(i)]));
    if (options.progress) options.progress(static_cast<int64_t>(evaluation.predictions.size()), data->size());
  }
  summarize(evaluation);
  evaluation.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return evaluation;
}

std::vector<std::vector<int64_t>> Evaluation::confusion() const {
  std::vector<std::vector<int64_t>> matrix(classes.size(), std::vector<int64_t>(classes.size()));
  for (const Prediction& p : predictions)
    if (p.predicted >= 0) ++matrix[static_cast<size_t>(p.label)][static_cast<size_t>(p.predicted)];
  return matrix;
}

std::vector<ClassScore> class_scores(const Evaluation& evaluation) {
  std::vector<ClassScore> scores(evaluation.classes.size());
  for (size_t c = 0; c < scores.size(); ++c) scores[c].name = evaluation.classes[c];
  for (const Prediction& p : evaluation.predictions) {
    ++scores[static_cast<size_t>(p.label)].pictures;
    if (p.predicted >= 0) ++scores[static_cast<size_t>(p.predicted)].predicted;
    if (p.predicted == p.label) ++scores[static_cast<size_t>(p.label)].correct;
  }
  return scores;
}

std::vector<int64_t> worst_mistakes(const Evaluation& evaluation, int64_t count) {
  std::vector<int64_t> mistakes;
  const auto& predictions = evaluation.predictions;
  for (size_t i = 0; i < predictions.size(); ++i)
    if (predictions[i].predicted != predictions[i].label) mistakes.push_back(static_cast<int64_t>(i));
  // NaN losses are the worst of all; comparing them as infinite keeps the order strict.
  auto loss_of = [&](int64_t i) {
    const float loss = predictions[static_cast<size_t>(i)].loss;
    return std::isnan(loss) ? INFINITY : loss;
  };
  std::ranges::stable_sort(mistakes, [&](int64_t a, int64_t b) { return loss_of(a) > loss_of(b); });
  mistakes.resize(std::min(mistakes.size(), static_cast<size_t>(std::max<int64_t>(count, 0))));
  return mistakes;
}

bool same_pictures(const Evaluation& a, const Evaluation& b) {
  return a.classes == b.classes && std::ranges::equal(a.predictions, b.predictions, {}, &Prediction::label, &Prediction::label);
}

McNemar mcnemar(const Evaluation& first, const Evaluation& second) {
  if (first.predictions.size() != second.predictions.size())
    throw ConfigError("McNemar's test wants the same pictures, got " + std::to_string(first.predictions.size()) + " and " +
                      std::to_string(second.predictions.size()));
  if (!same_pictures(first, second)) throw ConfigError("McNemar's test wants the same pictures, got some of other classes or with other labels");
  McNemar result;
  for (size_t i = 0; i < first.predictions.size(); ++i) {
    const bool a = first.predictions[i].predicted == first.predictions[i].label;
    const bool b = second.predictions[i].predicted == second.predictions[i].label;
    result.only_first += a && !b;
    result.only_second += b && !a;
  }
  const int64_t n = result.only_first + result.only_second;
  if (n == 0) return result;
  if (n < 25) {  // two-sided exact: twice the smaller tail of Binomial(n, 1/2)
    const int64_t k = std::min(result.only_first, result.only_second);
    double term = std::pow(0.5, static_cast<double>(n)), tail = 0;
    for (int64_t i = 0; i <= k; ++i) {
      tail += term;
      term *= static_cast<double>(n - i) / static_cast<double>(i + 1);
    }
    result.p_value = std::min(1.0, 2 * tail);
  } else {
    const double difference = std::abs(static_cast<double>(result.only_first - result.only_second));
    const double chi = std::pow(std::max(0.0, difference - 1), 2) / static_cast<double>(n);
    result.p_value = std::erfc(std::sqrt(chi / 2));
  }
  return result;
}

Interval wilson_interval(double p, int64_t n) {
  if (n <= 0) return {};
  constexpr double z = 1.959963984540054;
  const auto count = static_cast<double>(n);
  const double centre = p + z * z / (2 * count);
  const double half = z * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count));
  const double scale = 1 / (1 + z * z / count);
  return {std::max(0.0, (centre - half) * scale), std::min(1.0, (centre + half) * scale)};
}

}  // namespace tern
