// What D5 asks of matrix products: the bits of a row or lane do not depend on its company.
#include <cstring>

#include "core/autograd.h"
#include "core/error.h"
#include "core/lanes.h"
#include "core/rng.h"
#include "kernels/bias_grad/bias_grad.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_wgrad/linear_wgrad.h"
#include "kernels/matmul/matmul.h"
#include "tests/catch.h"

namespace tern {
namespace {

Context::Options with_threads(int threads) {
  Context::Options options;
  options.threads = threads;
  options.poison = true;
  return options;
}

Tensor random_tensor(Context& context, const Shape& shape, DType dtype, uint64_t seed) {
  Tensor tensor = Tensor::empty(context, shape, dtype);
  dispatch_floating("test", dtype, [&](auto t) {
    using T = decltype(t);
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      const double u = static_cast<double>(random4({seed, static_cast<uint64_t>(i), 0, 0}).v[0]) * 0x1p-32;
      tensor.data<T>()[i] = static_cast<T>(static_cast<float>(2 * u - 1));
    }
  });
  return tensor;
}

/// Rows [begin, end) of the leading axis, as a tensor of their own.
Tensor rows_of(const Tensor& x, int64_t begin, int64_t end) {
  Tensor rows = Tensor::empty(x.context(), x.shape().with(0, end - begin), x.dtype());
  const size_t row = x.bytes() / static_cast<size_t>(x.size(0));
  std::memcpy(rows.raw(), static_cast<std::byte*>(x.raw()) + static_cast<size_t>(begin) * row, rows.bytes());
  return rows;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.spec() == b.spec() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// Sums `lanes` separately computed gradients in the canonical tree.
Tensor summed(const std::vector<Tensor>& lanes) {
  const int64_t length = lanes[0].numel();
  std::vector<float> leaves;
  for (const Tensor& lane : lanes) leaves.insert(leaves.end(), lane.data<float>(), lane.data<float>() + length);
  tree_sum(leaves.data(), static_cast<int64_t>(lanes.size()), length, length);
  leaves.resize(static_cast<size_t>(length));
  return Tensor::from(lanes[0].context(), lanes[0].shape(), leaves);
}

}  // namespace

TEST_CASE("linear: a row alone has the bits it has in any batch", "[matmul]") {
  const DType dtype = GENERATE(DType::f32, DType::f64, DType::f16);
  Context context(with_threads(2));
  for (auto [in, out] : {std::pair{400, 120}, {84, 10}, {300, 33}, {1, 1}, {1000, 257}}) {
    const Tensor x = random_tensor(context, {128, in}, dtype, 1);
    const Tensor w = random_tensor(context, {out, in}, dtype, 2), bias = random_tensor(context, {out}, dtype, 3);
    const Tensor folded = linear(x, w, bias);
    for (auto [begin, end] : {std::pair{0, 1}, {5, 6}, {127, 128}, {32, 64}, {3, 20}, {12, 41}}) {
      INFO(name_of(dtype) << " in " << in << " out " << out << " rows " << begin << ".." << end);
      CHECK(same_bits(linear(rows_of(x, begin, end), w, bias), rows_of(folded, begin, end)));
    }
  }
}

TEST_CASE("matmul: a column of b alone, and either layout of an operand, give the same bits", "[matmul]") {
  const DType dtype = GENERATE(DType::f32, DType::f64);
  Context context(with_threads(2));
  const Tensor a = random_tensor(context, {50, 333}, dtype, 1);
  const Tensor bt = random_tensor(context, {70, 333}, dtype, 2);  // columns of b as rows
  const Tensor y = matmul(a, bt, {.transpose_b = true});
  dispatch_floating("test", dtype, [&](auto t) {
    using T = decltype(t);
    Tensor at = Tensor::empty(context, {333, 50}, dtype), b = Tensor::empty(context, {333, 70}, dtype);
    for (int64_t k = 0; k < 333; ++k) {
      for (int64_t i = 0; i < 50; ++i) at.data<T>()[k * 50 + i] = a.data<T>()[i * 333 + k];
      for (int64_t j = 0; j < 70; ++j) b.data<T>()[k * 70 + j] = bt.data<T>()[j * 333 + k];
    }
    CHECK(same_bits(matmul(a, b), y));
    CHECK(same_bits(matmul(at, b, {.transpose_a = true}), y));
    CHECK(same_bits(matmul(at, bt, {true, true}), y));
    for (int64_t j : {0, 31, 32, 69}) {
      const Tensor column = matmul(a, rows_of(bt, j, j + 1), {.transpose_b = true});
      for (int64_t i = 0; i < 50; ++i) CHECK(std::memcmp(column.data<T>() + i, y.data<T>() + i * 70 + j, sizeof(T)) == 0);
    }
  });
}

TEST_CASE("matrix products give the same bits on 1, 2 and 3 threads", "[matmul]") {
  const DType dtype = GENERATE(DType::f32, DType::f64);
  Context one(with_threads(1));
  auto results = [&](Context& context) {
    const Tensor x = random_tensor(context, {600, 400}, dtype, 1), w = random_tensor(context, {520, 400}, dtype, 2);
    const Tensor dy = random_tensor(context, {600, 520}, dtype, 3);
    return std::vector{linear(x, w), matmul(dy, w), linear_wgrad(dy, x, {.lane_size = 32}), bias_grad(dy, {.lane_size = 32})};
  };
  const std::vector<Tensor> wanted = results(one);
  for (int threads : {2, 3}) {
    Context many(with_threads(threads));
    const std::vector<Tensor> got = results(many);
    for (size_t i = 0; i < got.size(); ++i) {
      INFO(threads << " threads, result " << i);
      CHECK(same_bits(got[i], wanted[i]));
    }
  }
}

TEST_CASE("linear: gradients of folded lanes are those of separate lanes, summed in the tree", "[matmul]") {
  const int64_t rows = GENERATE(128, 100, 33, 32, 7);  // whole lanes, ragged ones, less than one
  Context context(with_threads(2));
  const Tensor x = random_tensor(context, {rows, 5, 84}, DType::f32, 1), dy = random_tensor(context, {rows, 5, 10}, DType::f32, 2);
  std::vector<Tensor> dw, db;
  for (int64_t begin = 0; begin < rows; begin += 32) {
    const int64_t end = std::min<int64_t>(rows, begin + 32);
    dw.push_back(linear_wgrad(rows_of(dy, begin, end), rows_of(x, begin, end)));
    db.push_back(bias_grad(rows_of(dy, begin, end)));
  }
  context.set_lane_size(32);
  CHECK(same_bits(linear_wgrad(dy, x), summed(dw)));
  CHECK(same_bits(bias_grad(dy), summed(db)));
}

TEST_CASE("linear: its gradients use the lane size of when it was made", "[matmul]") {
  Context context(with_threads(1));
  const Tensor x = random_tensor(context, {128, 40}, DType::f32, 1), dy = random_tensor(context, {128, 30}, DType::f32, 2);
  Tensor w = random_tensor(context, {30, 40}, DType::f32, 3), bias = random_tensor(context, {30}, DType::f32, 4);
  w.set_requires_grad();
  bias.set_requires_grad();
  context.set_lane_size(32);
  const Tensor y = linear(x, w, bias);
  context.set_lane_size(0);
  y.backward(dy);
  CHECK(same_bits(w.grad(), linear_wgrad(dy, x, {.lane_size = 32})));
  CHECK(same_bits(bias.grad(), bias_grad(dy, {.lane_size = 32})));
  CHECK_FALSE(same_bits(w.grad(), linear_wgrad(dy, x, {.lane_size = 0})));
}

TEST_CASE("matmul, linear: misfits are named", "[matmul]") {
  Context context(with_threads(1));
  const Tensor a = Tensor::zeros(context, {3, 4}), b = Tensor::zeros(context, {5, 6}), c = Tensor::zeros(context, {4}, DType::f64);
  CHECK_THROWS_WITH(matmul(a, b), "[matmul] a f32[3, 4] has inner extent 4 but b f32[5, 6] has 5");
  CHECK_THROWS_AS(matmul(a, c), ShapeError);
  CHECK_THROWS_WITH(linear(a, b), "[linear] w f32[5, 6] has in=6 but x f32[3, 4] has in=4");
  CHECK_THROWS_WITH(linear(a, a, Tensor::zeros(context, {4})), "[linear] bias is f32[4], w f32[3, 4] wants [3]");
  CHECK_THROWS_AS(linear(a, a, Tensor::zeros(context, {3}, DType::f64)), DTypeError);
  CHECK_THROWS_AS(matmul(Tensor::zeros(context, {2, 3, 4}), Tensor::zeros(context, {3, 4, 5})), ShapeError);
}

}  // namespace tern
