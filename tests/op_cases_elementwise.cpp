#include <cmath>

#include "kernels/ops.h"
#include "tests/naive_elementwise.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

using Unary = std::function<Tensor(const Tensor&)>;
using Binary = std::function<Tensor(const Tensor&, const Tensor&)>;

/// Rows of f: [low, high) inputs of odd shapes; `second` where the gradient has a gradient that is not zero.
OpCase unary(std::string op, std::string variant, Unary run, std::function<double(double)> f, double low, double high,
             bool second = true) {
  return {.op = std::move(op),
          .variant = std::move(variant),
          .inputs = {{{.shape = {3, 17}, .low = low, .high = high}},
                     {{.shape = {1}, .low = low, .high = high}},
                     {{.shape = {31, 7, 3}, .low = low, .high = high}}},
          .run = [run](std::span<const Tensor> in) { return std::vector{run(in[0])}; },
          .reference = [f](std::span<const Array> in) { return std::vector{naive_unary(in[0], f)}; },
          .second_gradient = second,
          .bench = {{.shape = {1 << 20}, .low = low, .high = high}}};
}

/// The ways that two shapes meet: equal, row, column, both ways, scalar, middle axis.
OpCase binary(std::string op, Binary run, std::function<double(double, double)> f, double low, double high,
              bool second = true) {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{3, 17}, {3, 17}},       {{5, 4, 17}, {17}},
                                                       {{3, 17}, {3, 1}},        {{31, 1, 3}, {1, 17, 3}},
                                                       {{4, 3}, Shape{}},        {{1}, {2, 3}},
                                                       {{2, 3, 4, 5}, {3, 1, 5}}, {{17}, {3, 1}}};
  std::vector<std::vector<Input>> inputs;
  for (const auto& [a, b] : shapes)
    inputs.push_back({{.shape = a, .low = low, .high = high}, {.shape = b, .low = low, .high = high}});
  return {.op = std::move(op),
          .variant = "",
          .inputs = std::move(inputs),
          .run = [run](std::span<const Tensor> in) { return std::vector{run(in[0], in[1])}; },
          .reference = [f](std::span<const Array> in) { return std::vector{naive_binary(in[0], in[1], f)}; },
          .second_gradient = second,
          .bench = {{.shape = {1 << 20}, .low = low, .high = high}, {.shape = {1 << 20}, .low = low, .high = high}}};
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases = {
      binary("add", [](auto& a, auto& b) { return add(a, b); }, [](double a, double b) { return a + b; }, -1, 1),
      binary("sub", [](auto& a, auto& b) { return sub(a, b); }, [](double a, double b) { return a - b; }, -1, 1),
      binary("mul", [](auto& a, auto& b) { return mul(a, b); }, [](double a, double b) { return a * b; }, -1, 1),
      unary("add", "number", [](auto& x) { return add(x, 2.5); }, [](double x) { return x + 2.5; }, -1, 1),
      unary("sub", "number", [](auto& x) { return sub(x, 2.5); }, [](double x) { return x - 2.5; }, -1, 1),
      unary("sub", "number_first", [](auto& x) { return sub(2.5, x); }, [](double x) { return 2.5 - x; }, -1, 1),
      unary("mul", "number", [](auto& x) { return mul(x, -1.5); }, [](double x) { return x * -1.5; }, -1, 1),
      unary("neg", "", [](auto& x) { return neg(x); }, [](double x) { return -x; }, -1, 1),
      unary("relu", "", [](auto& x) { return relu(x); }, [](double x) { return x > 0 ? x : 0; }, -1, 1),
      unary("cast", "round_trip", [](auto& x) { return cast(cast(x, DType::f64), x.dtype()); }, [](double x) { return x; },
            -1, 1),
  };
  return cases;
}

}  // namespace tern::testing
