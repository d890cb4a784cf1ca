// Batch normalisation beyond the op table: lanes against separate runs, fusion, running statistics, 16-bit activations.
#include <cmath>
#include <cstring>

#include "core/autograd.h"
#include "core/error.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "tests/catch.h"

using namespace tern;

namespace {

Tensor noise(Context& context, const Shape& shape, uint64_t seed, float offset = 0, DType dtype = DType::f32) {
  Tensor t = Tensor::empty(context, shape);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = uniform01(random4({seed, 0, static_cast<uint64_t>(i), 1}).v[0]) - 0.5f + offset;
  return dtype == DType::f32 ? t : cast(t, dtype);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.spec() == b.spec() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// Rows begin..end-1 of axis 0, copied.
Tensor rows(const Tensor& x, int64_t begin, int64_t end) {
  const int64_t row = x.numel() / x.size(0);
  const Tensor view = Tensor::view_of(x.context(), x.storage(),
                                      x.storage_offset() + static_cast<size_t>(begin * row) * size_of(x.dtype()),
                                      {x.dtype(), x.shape().with(0, end - begin)});
  Tensor copy = Tensor::empty(x.context(), view.shape(), x.dtype());
  copy.copy_from(view);
  return copy;
}

struct Trained {
  Tensor y, mean, var, dx, dgamma, dbeta;
};

Trained train(const Tensor& x, const Tensor& dy, const Tensor& gamma, const Tensor& beta, BatchNorm options) {
  Tensor leaf = x.detach();
  Tensor leaves[] = {leaf.set_requires_grad(), gamma.detach().set_requires_grad(), beta.detach().set_requires_grad()};
  const BatchNormResult r = batch_norm_train(leaves[0], leaves[1], leaves[2], options);
  const std::vector<Tensor> g = grad(std::span(&r.y, 1), leaves, std::span(&dy, 1));
  return {r.y.detach(), r.mean, r.var, g[0], g[1], g[2]};
}

}  // namespace

TEST_CASE("batch_norm: a folded batch gives the bits of its lanes run one after another, summed in the tree",
          "[batch_norm]") {
  for (const int64_t batch : {12, 11, 4, 3}) {  // a ragged last lane, whole lanes, one lane, less than one
    Context context({.threads = 2});
    const int64_t m = 4, channels = 19;
    const Tensor x = noise(context, {batch, 23, 17, channels}, 1, 0.3f), dy = noise(context, x.shape(), 2);
    const Tensor gamma = noise(context, {channels}, 3, 1), beta = noise(context, {channels}, 4);
    const BatchNorm options{.activation = Activation::relu};
    context.set_lane_size(m);
    const Trained folded = train(x, dy, gamma, beta, options);

    const Lanes lanes{batch, m};
    std::vector<float> sums;
    context.set_lane_size(0);
    for (int64_t lane = 0; lane < lanes.count(); ++lane) {
      INFO("batch " << batch << ", lane " << lane);
      const int64_t begin = lanes.begin(lane), end = lanes.end(lane);
      const Trained one = train(rows(x, begin, end), rows(dy, begin, end), gamma, beta, options);
      CHECK(same_bits(one.y, rows(folded.y, begin, end)));
      CHECK(same_bits(one.dx, rows(folded.dx, begin, end)));
      CHECK(same_bits(one.mean, rows(folded.mean, lane, lane + 1)));
      CHECK(same_bits(one.var, rows(folded.var, lane, lane + 1)));
      for (const Tensor& t : {one.dgamma, one.dbeta})
        sums.insert(sums.end(), t.span<float>().begin(), t.span<float>().end());
    }
    tree_sum(sums.data(), lanes.count(), 2 * channels, 2 * channels);
    CHECK(std::memcmp(sums.data(), folded.dgamma.raw(), folded.dgamma.bytes()) == 0);
    CHECK(std::memcmp(sums.data() + channels, folded.dbeta.raw(), folded.dbeta.bytes()) == 0);
  }
}

TEST_CASE("batch_norm: 1, 2 and 3 threads give the same bits over many blocks", "[batch_norm]") {
  std::vector<std::unique_ptr<Context>> contexts;  // outlives what it allocated
  std::vector<Trained> results;
  for (const int threads : {1, 2, 3}) {
    contexts.push_back(std::make_unique<Context>(Context::Options{.threads = threads}));
    Context& context = *contexts.back();
    context.set_lane_size(3);
    const Tensor x = noise(context, {7, 40, 40, 33}, 1, 2), dy = noise(context, x.shape(), 2);
    results.push_back(train(x, dy, noise(context, {33}, 3, 1), noise(context, {33}, 4), {}));
  }
  for (size_t i = 1; i < results.size(); ++i) {
    CHECK(same_bits(results[0].y, results[i].y));
    CHECK(same_bits(results[0].dx, results[i].dx));
    CHECK(same_bits(results[0].dgamma, results[i].dgamma));
    CHECK(same_bits(results[0].var, results[i].var));
  }
}

TEST_CASE("batch_norm: an activation that is fused and one that is not give the same bits, NaN passes both", "[batch_norm]") {
  const Activation activation = GENERATE(Activation::relu, Activation::gelu);
  const int64_t channels = GENERATE(7, 1500);  // GELU takes them in runs of 1024 elements
  for (const DType dtype : {DType::f32, DType::f64, DType::f16}) {
    std::vector<std::unique_ptr<Context>> contexts;  // outlives what it allocated
    std::vector<Trained> results;
    for (const bool fusion : {true, false}) {
      contexts.push_back(std::make_unique<Context>(Context::Options{.threads = 2, .fusion = fusion}));
      Context& context = *contexts.back();
      const Tensor x = noise(context, {4, 9, 5, channels}, 1, 0, dtype), dy = noise(context, x.shape(), 2, 0, dtype);
      if (dtype == DType::f32) x.data<float>()[3] = std::nanf("");
      results.push_back(train(x, dy, noise(context, {channels}, 3, 1, dtype), noise(context, {channels}, 4, 0, dtype),
                              {.activation = activation}));
    }
    INFO(name_of(dtype) << ", " << channels << " channels");
    CHECK(same_bits(results[0].y, results[1].y));
    CHECK(same_bits(results[0].dx, results[1].dx));
    CHECK(same_bits(results[0].dgamma, results[1].dgamma));
    CHECK(same_bits(results[0].dbeta, results[1].dbeta));
    if (dtype == DType::f32) CHECK(std::isnan(results[0].y.data<float>()[3]));
  }
}

TEST_CASE("batch_norm: a large mean does not cancel the variance", "[batch_norm]") {
  Context context({.threads = 1});
  const Tensor x = noise(context, {8, 32, 32, 3}, 1, 1000);
  const BatchNormResult r = batch_norm_train(x, {}, {});
  for (int64_t c = 0; c < 3; ++c) {
    double mean = 0, var = 0;
    const int64_t count = x.numel() / 3;
    for (int64_t i = 0; i < count; ++i)
      mean += static_cast<double>(x.data<float>()[i * 3 + c]) / static_cast<double>(count);
    for (int64_t i = 0; i < count; ++i)
      var += std::pow(static_cast<double>(x.data<float>()[i * 3 + c]) - mean, 2) / static_cast<double>(count);
    CHECK(r.mean.data<float>()[c] == static_cast<float>(mean));
    CHECK(r.var.data<float>()[c] == Approx(var).epsilon(1e-6));
  }
}

TEST_CASE("batch_norm: 16-bit activations take f32 parameters and statistics", "[batch_norm]") {
  Context context({.threads = 2});
  const Tensor x = noise(context, {6, 5, 5, 8}, 1), gamma = noise(context, {8}, 2, 1), beta = noise(context, {8}, 3);
  const Tensor mean = noise(context, {8}, 4), var = noise(context, {8}, 5, 1);
  const Tensor half = cast(x, DType::f16);
  const Trained got = train(half, cast(noise(context, x.shape(), 6), DType::f16), gamma, beta, {});
  CHECK(got.dgamma.dtype() == DType::f32);
  CHECK(got.mean.dtype() == DType::f32);
  const Tensor same = cast(half, DType::f32);
  const Tensor y16 = batch_norm_eval(half, gamma, beta, mean, var), y32 = batch_norm_eval(same, gamma, beta, mean, var);
  CHECK(same_bits(y16, cast(y32, DType::f16)));
  CHECK(same_bits(got.y, cast(batch_norm_train(same, gamma, beta).y, DType::f16)));
}

TEST_CASE("batch_norm: frozen parameters get no gradient, x still does", "[batch_norm]") {
  Context context({.threads = 1});
  const Tensor gamma = noise(context, {3}, 2, 1), beta = noise(context, {3}, 3);
  Tensor x = noise(context, {4, 2, 2, 3}, 1), trained_beta = beta.detach();
  const Tensor dy = noise(context, x.shape(), 4);
  const Tensor wanted = train(x, dy, gamma, beta, {}).dx;
  Tensor leaves[] = {x.set_requires_grad(), trained_beta.set_requires_grad()};
  const Tensor y = batch_norm_train(x, gamma, trained_beta).y;
  CHECK(same_bits(grad(std::span(&y, 1), leaves, std::span(&dy, 1))[0], wanted));
  CHECK_FALSE(gamma.requires_grad());
}

TEST_CASE("batch_norm: refuses what PyTorch refuses, naming it", "[batch_norm]") {
  Context context({.threads = 1});
  CHECK_THROWS_WITH(batch_norm_train(noise(context, {1, 1, 1, 3}, 1), {}, {}), HasText("more than one value"));
  context.set_lane_size(4);
  CHECK_THROWS_AS(batch_norm_train(noise(context, {5, 3}, 1), {}, {}), ShapeError);  // the last lane has one row
  CHECK_NOTHROW(batch_norm_train(noise(context, {6, 3}, 1), {}, {}));
  CHECK_THROWS_WITH(batch_norm_train(noise(context, {6, 3}, 1), noise(context, {4}, 1), {}), HasText("wants [3]"));
  CHECK_THROWS_AS(batch_norm_train(noise(context, {6, 3}, 1), {}, {}, {.eps = -1}), ConfigError);
}

TEST_CASE("batch_norm: running statistics follow PyTorch's formula lane by lane", "[batch_norm]") {
  for (const bool cumulative : {false, true}) {
    Context context({.threads = 1});
    context.set_lane_size(4);
    const Tensor x = noise(context, {10, 3, 2, 2}, 1, 1);
    const BatchNormResult r = batch_norm_train(x, {}, {});
    const std::optional<double> momentum = cumulative ? std::nullopt : std::optional(0.1);
    const Tensor mean = noise(context, {2}, 5), var = noise(context, {2}, 6, 1),
                 batches = Tensor::full(context, {1}, 2, DType::i64);
    std::vector<float> want_mean = mean.to_vector<float>(), want_var = var.to_vector<float>();
    const double rows_in[] = {24, 24, 12};
    for (int64_t lane = 0; lane < 3; ++lane) {
      const double f = cumulative ? 1.0 / static_cast<double>(3 + lane) : 0.1;
      for (int64_t c = 0; c < 2; ++c) {
        const size_t i = static_cast<size_t>(c);
        want_mean[i] = static_cast<float>((1 - f) * want_mean[i] + f * r.mean.data<float>()[lane * 2 + c]);
        want_var[i] = static_cast<float>((1 - f) * want_var[i] +
                                         f * r.var.data<float>()[lane * 2 + c] * rows_in[lane] / (rows_in[lane] - 1));
      }
    }
    Tensor skip = Tensor::full(context, {1}, 1);
    const std::vector<float> before = mean.to_vector<float>();
    batch_norm_update(mean, var, batches, r.mean, r.var, batch_norm_update_of(x, momentum), skip);
    CHECK(mean.to_vector<float>() == before);
    CHECK(batches.item() == 2);

    skip.data<float>()[0] = 0;
    batch_norm_update(mean, var, batches, r.mean, r.var, batch_norm_update_of(x, momentum), skip);
    CHECK(batches.item() == 5);
    for (size_t c = 0; c < 2; ++c) {
      CHECK(mean.data<float>()[c] == Approx(want_mean[c]).epsilon(1e-6));
      CHECK(var.data<float>()[c] == Approx(want_var[c]).epsilon(1e-6));
    }
    CHECK_THROWS_AS(batch_norm_update(mean, var, batches, rows(r.mean, 0, 1), r.var, batch_norm_update_of(x, momentum)),
                    ShapeError);
  }
}
