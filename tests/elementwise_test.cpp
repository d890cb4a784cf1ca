// What the table of ops does not say of elementwise ops and reductions: special values, errors, lanes, accuracy.
#include <cmath>
#include <cstring>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "tests/catch.h"

namespace tern {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Tensor vector_of(Context& context, const std::vector<float>& values) {
  return Tensor::from(context, {static_cast<int64_t>(values.size())}, values);
}

Tensor random_tensor(Context& context, const Shape& shape, uint64_t seed) {
  Tensor x = Tensor::empty(context, shape);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.data<float>()[i] = static_cast<float>(random4({seed, 0, static_cast<uint64_t>(i), 7}).v[0]) * 0x1p-32f - 0.4f;
  return x;
}

Tensor rows_of(const Tensor& x, int64_t begin, int64_t end) {
  const int64_t row = x.numel() / x.size(0);
  return Tensor::from<float>(
      x.context(), x.shape().with(0, end - begin),
      x.span<float>().subspan(static_cast<size_t>(begin * row), static_cast<size_t>((end - begin) * row)));
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.spec() == b.spec() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

Tensor gradient_of(const Tensor& y, const Tensor& x) { return grad(std::vector{sum(y)}, std::vector{x})[0]; }

}  // namespace

TEST_CASE("elementwise: NaN passes from either side", "[elementwise]") {
  Context context;
  const Tensor a = vector_of(context, {kNan, 1, kNan}), b = vector_of(context, {1, kNan, kNan});
  for (const Tensor& y : {maximum(a, b), minimum(a, b), maximum(b, a), a + b})
    for (float v : y.to_vector<float>()) CHECK(std::isnan(v));
  const Tensor x = vector_of(context, {kNan, -kInf, kInf, -1});
  CHECK(std::isnan(relu(x).to_vector<float>()[0]));
  CHECK(std::isnan(clamp(x, {.low = 0, .high = 1}).to_vector<float>()[0]));
  CHECK(gelu(x).to_vector<float>()[1] == 0);
  CHECK(silu(x).to_vector<float>()[1] == 0);
  CHECK(gelu(x, {.approximate = Gelu::tanh}).to_vector<float>()[2] == kInf);
}

TEST_CASE("elementwise: ties share the gradient, kinks have the stated one", "[elementwise]") {
  Context context;
  Tensor a = vector_of(context, {1, 2, 3}), b = vector_of(context, {1, 5, 0});
  a.set_requires_grad();
  b.set_requires_grad();
  CHECK(gradient_of(maximum(a, b), a).to_vector<float>() == std::vector<float>{0.5f, 0, 1});
  CHECK(gradient_of(maximum(a, b), b).to_vector<float>() == std::vector<float>{0.5f, 1, 0});
  CHECK(gradient_of(minimum(a, b), a).to_vector<float>() == std::vector<float>{0.5f, 1, 0});
  Tensor x = vector_of(context, {-1, 0, 2, 2});
  x.set_requires_grad();
  CHECK(gradient_of(max(x), x).to_vector<float>() == std::vector<float>{0, 0, 0.5f, 0.5f});
  CHECK(gradient_of(relu(x), x).to_vector<float>() == std::vector<float>{0, 0, 1, 1});
  CHECK(gradient_of(abs(x), x).to_vector<float>() == std::vector<float>{-1, 0, 1, 1});
  CHECK(gradient_of(clamp(x, {.low = -1, .high = 1}), x).to_vector<float>() == std::vector<float>{1, 1, 0, 0});
  CHECK(gradient_of(pow(x, 0.0), x).to_vector<float>() == std::vector<float>(4, 0));
  Tensor zero = vector_of(context, {0, 0});
  zero.set_requires_grad();
  CHECK(gradient_of(norm(zero), zero).to_vector<float>() == std::vector<float>{0, 0});
}

TEST_CASE("elementwise: operators mean the functions", "[elementwise]") {
  Context context;
  const Tensor x = vector_of(context, {1, 2, 4});
  CHECK((2.0 - x / 2.0 * x + -x).to_vector<float>() == std::vector<float>{0.5f, -2, -10});
  CHECK((8.0 / x - 1.0 + 3.0 * x).to_vector<float>() == std::vector<float>{10, 9, 13});
}

TEST_CASE("elementwise: integers add, subtract and multiply; other ops refuse them", "[elementwise]") {
  Context context;
  const Tensor n = Tensor::arange(context, 3);
  CHECK((n * n + n - 1.0).to_vector<int64_t>() == std::vector<int64_t>{-1, 1, 5});
  CHECK(sum(n).to_vector<int64_t>() == std::vector<int64_t>{3});
  CHECK_THROWS_AS(div(n, n), DTypeError);
  CHECK_THROWS_AS(exp(n), DTypeError);
  CHECK_THROWS_AS(mean(n), DTypeError);
  CHECK_THROWS_AS(add(n, cast(n, DType::f32)), DTypeError);
}

TEST_CASE("elementwise: shapes that do not fit are named", "[elementwise]") {
  Context context;
  const Tensor a = Tensor::zeros(context, {3, 4}), b = Tensor::zeros(context, {3});
  CHECK_THROWS_WITH(add(a, b), HasText("[add]") && HasText("[3, 4]") && HasText("[3]"));
  CHECK_THROWS_WITH(sum(a, {.axes = {2}}), HasText("[sum] axis 2"));
  CHECK_THROWS_WITH(sum(a, {.axes = {1, -1}}), HasText("twice"));
  CHECK_THROWS_AS(sum_to(a, {5}), ShapeError);
  CHECK_THROWS_AS(broadcast_to(a, {3, 5}), ShapeError);
  CHECK_THROWS_AS(clamp(a, {.low = 1, .high = 0}), ConfigError);
  CHECK_THROWS_AS(where(a, a, a), DTypeError);
}

TEST_CASE("cast: floats to integers truncate and saturate", "[elementwise]") {
  Context context;
  const Tensor x = vector_of(context, {-1.9f, 2.7f, 1e20f, -kInf, kNan});
  CHECK(cast(x, DType::i64).to_vector<int64_t>() ==
        std::vector<int64_t>{-1, 2, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min(), 0});
  CHECK(cast(x, DType::u8).to_vector<uint8_t>() == std::vector<uint8_t>{0, 2, 255, 0, 0});
}

TEST_CASE("has_nonfinite: finds one bad element anywhere", "[elementwise]") {
  Context context;
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (float bad : {kNan, kInf, -kInf})
      for (size_t place : {size_t{0}, size_t{70000}, size_t{149999}}) {
        std::vector<float> values(150000, 3.0f);
        CHECK(has_nonfinite(cast(vector_of(context, values), dtype)).item() == 0);
        values[place] = bad;
        CHECK(has_nonfinite(cast(vector_of(context, values), dtype)).item() == 1);
      }
}

TEST_CASE("argmax: the first of ties, the first NaN", "[reductions]") {
  Context context;
  CHECK(argmax(vector_of(context, {1, 3, 3})).item() == 1);
  CHECK(argmax(vector_of(context, {1, kNan, 9, kNan})).item() == 1);
  CHECK(std::isnan(max(vector_of(context, {1, kNan, 9})).item()));
  CHECK(max(vector_of(context, {-kInf, -kInf})).item() == -kInf);
}

TEST_CASE("sum_to: a folded batch has the bits of its lanes summed in the tree", "[reductions][lanes]") {
  Context context;
  for (const Shape& shape : {Shape{128, 5, 7, 33}, Shape{96, 3}, Shape{100, 40, 5, 8}, Shape{65, 700}, Shape{70}}) {
    INFO(shape.str());
    const Tensor x = random_tensor(context, shape, 3);
    const Shape to = shape.rank() == 1 ? Shape{} : Shape{shape[-1]};
    std::vector<Tensor> lanes;
    for (int64_t begin = 0; begin < shape[0]; begin += 32)
      lanes.push_back(sum_to(rows_of(x, begin, std::min(shape[0], begin + 32)), to, 32));
    Tensor tree = lanes.size() > 1 ? add(lanes[0], lanes[1]) : lanes[0];
    if (lanes.size() == 3) tree = add(tree, lanes[2]);
    if (lanes.size() == 4) tree = add(tree, add(lanes[2], lanes[3]));
    CHECK(same_bits(sum_to(x, to, 32), tree));
  }
}

TEST_CASE("add: a bias gradient is summed by the context's lanes", "[reductions][lanes]") {
  Context context;
  const Tensor x = random_tensor(context, {64, 9, 10}, 4), seed = random_tensor(context, {64, 9, 10}, 5);
  Tensor bias = random_tensor(context, {10}, 6);
  bias.set_requires_grad();
  context.set_lane_size(32);
  const auto gradient = [&](const Tensor& rows, const Tensor& dy) {
    return grad(std::vector{add(rows, bias)}, std::vector{bias}, std::vector{dy})[0];
  };
  const Tensor folded = gradient(x, seed);
  const Tensor first = gradient(rows_of(x, 0, 32), rows_of(seed, 0, 32));
  const Tensor second = gradient(rows_of(x, 32, 64), rows_of(seed, 32, 64));
  CHECK(same_bits(folded, add(first, second)));
}

TEST_CASE("sum: a long f32 sum stays within a few roundings of f64", "[reductions]") {
  Context context;
  const Tensor x = random_tensor(context, {1000, 3001}, 8);
  double exact = 0, magnitude = 0;
  for (float v : x.span<float>()) {
    exact += v;
    magnitude += std::abs(v);
  }
  CHECK(std::abs(sum(x).item() - exact) <= magnitude * 2e-8);
  const std::vector<float> columns = sum(x, {.axes = {0}}).to_vector<float>();
  for (size_t c : {size_t{0}, size_t{300}, size_t{3000}}) {
    double want = 0;
    for (size_t r = 0; r < 1000; ++r) want += x.span<float>()[r * 3001 + c];
    CHECK(std::abs(columns[c] - want) <= 1000 * 0.3 * 1e-7);
  }
}

TEST_CASE("elementwise and sums: the same bits for 1 and 3 threads on large tensors", "[reductions][threads]") {
  const auto run = [](int threads) {
    Context::Options options;
    options.threads = threads;
    Context context(options);
    const Tensor x = random_tensor(context, {130, 1000}, 9), row = random_tensor(context, {1000}, 10);
    std::vector<float> all;
    for (const Tensor& y : {gelu(x) * row, sum(x), sum(x, {.axes = {0}}), var(x), norm(x, {.axes = {1}}), max(x)})
      for (float v : y.to_vector<float>()) all.push_back(v);
    return all;
  };
  CHECK(run(1) == run(3));
}

}  // namespace tern
