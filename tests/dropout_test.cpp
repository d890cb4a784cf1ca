// Dropout's mask: its rate, and what it depends on.
#include <cmath>
#include <set>

#include "core/autograd.h"
#include "core/error.h"
#include "core/plan.h"
#include "kernels/ops.h"
#include "tests/catch.h"

using namespace tern;

namespace {

std::vector<float> mask(Context& context, int64_t rows, int64_t width, Dropout options) {
  NoGrad guard(context);
  return dropout(Tensor::full(context, {rows, width}, 1), options).to_vector<float>();
}

std::vector<float> row(const std::vector<float>& values, int64_t width, int64_t r) {
  return {values.begin() + r * width, values.begin() + (r + 1) * width};
}

Tensor samples(Context& context, const std::vector<int64_t>& values) {
  return Tensor::from<int64_t>(context, {static_cast<int64_t>(values.size())}, values);
}

}  // namespace

TEST_CASE("dropout: drops a share of p and scales what stays by 1 / (1 - p)", "[dropout]") {
  Context context({.threads = 2});
  for (const double p : {0.0, 0.1, 0.5, 0.9}) {
    const std::vector<float> m = mask(context, 100, 1000, {.p = p});
    double dropped = 0;
    for (float v : m) {
      dropped += v == 0;
      if (v != 0) REQUIRE(v == Approx(1 / (1 - p)));
    }
    // Five standard deviations of a binomial count.
    CHECK(std::abs(dropped - 1e5 * p) <= 5 * std::sqrt(1e5 * p * (1 - p)));
  }
  CHECK_THROWS_AS(mask(context, 2, 2, {.p = 1}), ConfigError);
  CHECK_THROWS_AS(mask(context, 2, 2, {.p = -0.1}), ConfigError);
  CHECK_THROWS_AS(mask(context, 2, 2, {.p = std::nan("")}), ConfigError);
}

TEST_CASE("dropout: a sample keeps its mask wherever it is in whichever batch", "[dropout]") {
  Context context({.threads = 2});
  context.set_rng_samples(samples(context, {7, 3, 1000000007, 5}));
  const std::vector<float> four = mask(context, 4, 37, {});
  context.set_rng_samples(samples(context, {5, 1000000007}));
  const std::vector<float> two = mask(context, 2, 37, {});
  CHECK(row(two, 37, 0) == row(four, 37, 3));
  CHECK(row(two, 37, 1) == row(four, 37, 2));
  std::set<std::vector<float>> distinct;
  for (int64_t r = 0; r < 4; ++r) distinct.insert(row(four, 37, r));
  CHECK(distinct.size() == 4);
  CHECK_THROWS_WITH(mask(context, 3, 37, {}), HasText("rng_samples"));
}

TEST_CASE("dropout: seed, step and layer each change the mask", "[dropout]") {
  Context context({.threads = 1});
  std::set<std::vector<float>> masks;
  for (const uint64_t seed : {1, 2})
    for (const uint64_t step : {0, 1})
      for (const uint32_t layer : {0u, 1u}) {
        context.set_rng_key(seed, step);
        masks.insert(mask(context, 3, 50, {.layer = layer}));
      }
  CHECK(masks.size() == 8);
  context.set_rng_key(1, 0);
  CHECK(masks.contains(mask(context, 3, 50, {.layer = 1})));
}

TEST_CASE("dropout: the gradient uses the forward's mask even when the step moves on in between", "[dropout]") {
  Context context({.threads = 2});
  context.set_rng_samples(samples(context, {4, 2, 9}));
  context.set_rng_key(3, 10);
  Tensor x = Tensor::full(context, {3, 41}, 1);
  x.set_requires_grad();
  const Tensor y = dropout(x, {.p = 0.3});
  context.set_rng_key(3, 11);
  y.backward(Tensor::full(context, {3, 41}, 1));
  CHECK(x.grad().to_vector<float>() == y.to_vector<float>());
}

TEST_CASE("dropout: a replayed plan draws the mask of its own step", "[dropout][plan]") {
  Context context({.threads = 2});
  const Tensor x = Tensor::full(context, {5, 30}, 1);
  CompiledStep step = compile(context, [](std::span<const Tensor> in) { return std::vector{dropout(in[0])}; });
  for (uint64_t i = 0; i < 3; ++i) {
    context.set_rng_key(1, i);
    const std::vector<float> replayed = step({x})[0].to_vector<float>();
    CHECK(replayed == mask(context, 5, 30, {}));
  }
}
