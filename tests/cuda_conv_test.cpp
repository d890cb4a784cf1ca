// Convolutions and products on a GPU whose shapes the op table has no row for: several tiles, sums cut in parts, views.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ops.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"

namespace tern {
namespace {

using test::no_gpu;
using test::on;

/// The same numbers in [-1, 1) on every device.
Tensor numbers(Context& context, const Shape& shape, uint32_t seed, DType dtype = DType::f32) {
  return dispatch_floating("numbers", dtype, [&](auto t) {
    std::vector<decltype(t)> values(static_cast<size_t>(shape.numel()));
    for (auto& value : values) {
      seed = seed * 1664525u + 1013904223u;
      value = static_cast<decltype(t)>(static_cast<float>(seed >> 8) * 0x1p-23f - 1);
    }
    return Tensor::from(context, shape, values);
  });
}

std::vector<double> values_of(const Tensor& tensor) {
  return dispatch_floating("values", tensor.dtype(), [&](auto t) {
    std::vector<double> values;
    for (const auto value : tensor.to_vector<decltype(t)>()) {
      if constexpr (sizeof(value) == 2)
        values.push_back(static_cast<float>(value));
      else
        values.push_back(value);
    }
    return values;
  });
}

/// Runs `f(context)` on a GPU and on the CPU; the largest difference over the CPU's largest number.
template <class F>
double difference(const F& f) {
  Context gpu(on(Device::Kind::cuda)), cpu(on(Device::Kind::cpu));
  const std::vector<double> got = values_of(f(gpu)), want = values_of(f(cpu));
  REQUIRE(got.size() == want.size());
  double largest = 0, worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, std::abs(want[i]));
    worst = std::isfinite(got[i]) ? std::max(worst, std::abs(got[i] - want[i])) : INFINITY;
  }
  return worst / largest;
}

TEST_CASE("cuda conv2d: several tiles of lines, columns and steps, and groups", "[cuda]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  const Shape x{2, 9, 8, 72}, w{132, 3, 2, 36};
  const Conv2d o{.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}, .groups = 2};
  Shape y;
  CHECK(difference([&](Context& c) {
          const Tensor out = conv2d(numbers(c, x, 1), numbers(c, w, 2), numbers(c, {132}, 3), o);
          y = out.shape();
          return out;
        }) < 1e-5);
  CHECK(difference([&](Context& c) { return conv2d_dgrad(numbers(c, y, 4), numbers(c, w, 2), {9, 8}, o); }) < 1e-5);
  CHECK(difference([&](Context& c) { return conv2d_wgrad(numbers(c, x, 1), numbers(c, y, 4), {3, 2}, o); }) < 1e-5);
}

TEST_CASE("cuda conv2d_wgrad: sums over many pixels are cut in parts", "[cuda]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  for (const DType dtype : {DType::f32, DType::f16})
    CHECK(difference([&](Context& c) {
            return conv2d_wgrad(numbers(c, {5, 19, 17, 3}, 1, dtype), numbers(c, {5, 19, 17, 4}, 2, dtype), {3, 3},
                                {.padding = 1});
          }) < (dtype == DType::f32 ? 1e-5 : 2e-3));
}

TEST_CASE("cuda conv2d: an operand that is a view of odd alignment", "[cuda]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  CHECK(difference([](Context& c) {
          return conv2d(slice(numbers(c, {3, 3, 3, 5}, 1), 0, 1, 3), numbers(c, {7, 3, 3, 5}, 2), {.padding = 1});
        }) < 1e-5);
}

TEST_CASE("cuda linear: bias, and operands that are views of odd alignment", "[cuda]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    INFO(name_of(dtype));
    const auto product = [&](Context& c) {
      const Tensor x = slice(numbers(c, {4, 2, 13}, 1, dtype), 0, 1, 4);
      return linear(x, numbers(c, {17, 13}, 2, dtype), slice(numbers(c, {18}, 3, dtype), 0, 1, 18));
    };
    CHECK(difference(product) < (dtype == DType::bf16 ? 1.6e-2 : dtype == DType::f16 ? 2e-3 : 1e-6));
  }
}

TEST_CASE("cuda matmul: broadcast batches, and gradients of what is broadcast", "[cuda]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  for (const DType dtype : {DType::f32, DType::f64, DType::f16}) {
    INFO(name_of(dtype));
    const double tolerance = dtype == DType::f16 ? 2e-3 : 1e-6;
    for (const int wanted : {0, 1, 2}) {
      const auto run = [&](Context& c) {
        Tensor a = numbers(c, {3, 1, 4, 5}, 1, dtype), b = numbers(c, {2, 5, 6}, 2, dtype);
        a.set_requires_grad();
        b.set_requires_grad();
        const Tensor y = matmul(a, b);
        if (wanted == 0) return y.detach();
        y.backward(numbers(c, y.shape(), 3, dtype));
        return wanted == 1 ? a.grad() : b.grad();
      };
      CHECK(difference(run) < tolerance);
    }
  }
}

}  // namespace
}  // namespace tern
