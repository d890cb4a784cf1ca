// Statistics of evaluations and experiments against known values.
#include "tools/evaluation.h"

#include "core/error.h"
#include "nn/network.h"
#include "tests/catch.h"
#include "tools/experiments.h"

using namespace tern;

namespace {

/// Evaluations of which the first alone is right on `first` pictures, the second alone on `second`, both on 7.
std::pair<Evaluation, Evaluation> discordant(int first, int second) {
  std::pair<Evaluation, Evaluation> pair;
  auto add = [&](int count, bool a, bool b) {
    for (int i = 0; i < count; ++i) {
      pair.first.predictions.push_back({.label = 1, .predicted = a ? 1 : 0});
      pair.second.predictions.push_back({.label = 1, .predicted = b ? 1 : 0});
    }
  };
  add(7, true, true);
  add(first, true, false);
  add(second, false, true);
  return pair;
}

double p_value(int first, int second) {
  const auto pair = discordant(first, second);
  return mcnemar(pair.first, pair.second).p_value;
}

}  // namespace

TEST_CASE("mcnemar: exact for few discordant pictures, chi-square with continuity correction for many", "[evaluate]") {
  CHECK(p_value(0, 0) == 1);
  CHECK(p_value(3, 3) == 1);
  CHECK(p_value(1, 5) == Approx(2 * 7 / 64.0));  // (C(6,0) + C(6,1)) / 2^6, twice
  CHECK(p_value(5, 1) == Approx(2 * 7 / 64.0));
  CHECK(p_value(0, 10) == Approx(2 / 1024.0));
  CHECK(p_value(2, 12) == Approx(0.012939453125));             // twice (1 + 14 + 91) / 2^14
  CHECK(p_value(10, 25) == Approx(0.0179604775));              // chi-square 5.6 with 1 degree of freedom
  CHECK(p_value(121, 59) == Approx(5.4501e-6).epsilon(1e-3));  // chi-square 20.672
  CHECK_THROWS_AS(mcnemar(discordant(1, 1).first, discordant(2, 2).first), ConfigError);
  auto others = discordant(3, 3);
  others.second.predictions[0].label += 1;
  CHECK_THROWS_WITH(mcnemar(others.first, others.second), HasText("other labels"));
}

TEST_CASE("wilson_interval: published values, and never outside 0..1", "[evaluate]") {
  // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
  const struct {
    int count, n;
    double low, high;
  } rows[] = {{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0.0, 0.1611}, {1, 29, 0.0061, 0.1718}};
  for (const auto& row : rows) {
    const Interval interval = wilson_interval(row.count / static_cast<double>(row.n), row.n);
    CHECK(interval.low == Approx(row.low).margin(6e-5));
    CHECK(interval.high == Approx(row.high).margin(6e-5));
  }
  CHECK(wilson_interval(1, 5).high == 1);
  CHECK(wilson_interval(0.5, 0).low == 0);
}

TEST_CASE("class_scores, confusion and worst_mistakes count as they should", "[evaluate]") {
  Evaluation e{.classes = {"a", "b", "c"}, .predictions = {}};
  e.predictions = {{.label = 0, .predicted = 0, .loss = 9},
                   {.label = 0, .predicted = 1, .loss = 2},
                   {.label = 1, .predicted = 1, .loss = 1},
                   {.label = 2, .predicted = -1, .loss = NAN},
                   {.label = 2, .predicted = 0, .loss = 3}};
  CHECK(e.confusion() == std::vector<std::vector<int64_t>>{{1, 1, 0}, {0, 1, 0}, {1, 0, 0}});
  const auto scores = class_scores(e);
  CHECK(scores[0].recall() == 0.5);
  CHECK(scores[0].precision() == 0.5);
  CHECK(scores[2].precision() == 0);
  CHECK(scores[2].pictures == 2);
  CHECK(worst_mistakes(e, 2) == std::vector<int64_t>{3, 4});
  CHECK(worst_mistakes(e, 99) == std::vector<int64_t>{3, 4, 1});
}

TEST_CASE("sample_statistics: mean, deviation and Student's interval", "[evaluate]") {
  const double values[] = {2, 4, 4, 4, 5, 5, 7, 9};
  const SampleStatistics s = sample_statistics(values);
  CHECK(s.mean == Approx(5));
  CHECK(s.deviation == Approx(2.13809));
  CHECK(s.high - s.mean == Approx(2.365 * 2.13809 / 2.828427).epsilon(1e-4));
  const double one[] = {3};
  CHECK(sample_statistics(one).low == 3);
  CHECK(sample_statistics({}).count == 0);
}

TEST_CASE("test-time augmentation: means of logits over mirror images and pixel shifts", "[evaluate]") {
  Context context({.threads = 1});
  NoGrad no_grad(context);
  constexpr int64_t kHeight = 6, kWidth = 5;
  const auto network = nn::build_network(context, {{.type = "conv2d", .out = 4, .kernel = 3}, {.type = "relu"}, {.type = "flatten"}, {.type = "linear", .out = 3}},
                                         {.height = kHeight, .width = kWidth, .channels = 3}, 1);
  network->train(false);
  using Pixels = std::vector<uint8_t>;
  Pixels pixels(2 * kHeight * kWidth * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37 % 251);
  /// Pixel (y, x) of each picture comes from (y + dy, x + dx), mirrored at the borders, or from the row's other end.
  const auto moved = [&](int64_t by, bool mirror) {
    const auto inside = [](int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; };
    Pixels out(pixels.size());
    for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) {
      const int64_t c = i % 3, x = i / 3 % kWidth, y = i / 3 / kWidth % kHeight, n = i / 3 / kWidth / kHeight;
      const int64_t from_x = inside((mirror ? kWidth - 1 - x : x) + by, kWidth), from_y = inside(y + by, kHeight);
      out[static_cast<size_t>(i)] = pixels[static_cast<size_t>(((n * kHeight + from_y) * kWidth + from_x) * 3 + c)];
    }
    return out;
  };
  const auto logits = [&](const Pixels& of, TtaName tta) {
    EvaluationOptions options;
    options.tta = tta;
    CompiledStep step = evaluation_step(context, *network, options);
    return step({Tensor::from(context, {2, kHeight, kWidth, 3}, of)})[0].to_vector<float>();
  };
  const auto both_sides = [&](int64_t by) {
    std::vector<float> a = logits(moved(by, false), TtaName::none);
    const std::vector<float> b = logits(moved(by, true), TtaName::none);
    for (size_t i = 0; i < a.size(); ++i) a[i] = (a[i] + b[i]) / 2;
    return a;
  };
  const auto plain = both_sides(0), up = both_sides(-1), down = both_sides(1), flip = logits(pixels, TtaName::flip), shifted = logits(pixels, TtaName::flip_shift);
  for (size_t i = 0; i < plain.size(); ++i) {
    CHECK(flip[i] == Approx(plain[i]).margin(1e-6));
    CHECK(shifted[i] == Approx(plain[i] / 2 + (up[i] + down[i]) / 4).margin(1e-6));
  }
}
