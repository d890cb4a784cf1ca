#include <algorithm>
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
  const std::vector<std::pair<Shape, Shape>> shapes = {{{3, 17}, {3, 17}},        {{5, 4, 17}, {17}}, {{3, 17}, {3, 1}},
                                                       {{31, 1, 3}, {1, 17, 3}},  {{4, 3}, Shape{}},  {{1}, {2, 3}},
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

OpCase where_case() {
  const auto set = [](const Shape& condition, const Shape& a, const Shape& b) {
    return std::vector<Input>{
        {.shape = condition, .low = 0, .high = 2, .floating = false, .fixed = DType::u8}, {.shape = a}, {.shape = b}};
  };
  return {.op = "where",
          .variant = "",
          .inputs = {set({3, 17}, {3, 17}, {3, 17}), set({31, 1}, {7}, Shape{}), set({3}, {2, 1, 3}, {17, 1})},
          .run = [](std::span<const Tensor> in) { return std::vector{where(in[0], in[1], in[2])}; },
          .reference =
              [](std::span<const Array> in) {
                const Shape ab = broadcast(in[1].shape, in[2].shape, "naive");
                Array y = make_array(broadcast(in[0].shape, ab, "naive"));
                for (int64_t i = 0; i < y.shape.numel(); ++i) {
                  const auto at = coordinates(y.shape, i);
                  y[i] = broadcast_value(in[broadcast_value(in[0], at) != 0 ? 1 : 2], at);
                }
                return std::vector{y};
              },
          .second_gradient = true,
          .nan_passes = false,
          .bench = set({1 << 20}, {1 << 20}, {1 << 20})};
}

OpCase broadcast_to_case() {
  return {.op = "broadcast_to",
          .variant = "",
          .inputs = {{{.shape = {3, 1, 17}}}, {{.shape = {1, 1, 1}}}, {{.shape = {31, 1}}}},
          .run =
              [](std::span<const Tensor> in) {
                return std::vector{broadcast_to(in[0], {2, 3, 31, 17})};
              },
          .reference =
              [](std::span<const Array> in) {
                return std::vector{naive_binary(in[0], make_array({2, 3, 31, 17}), [](double a, double) { return a; })};
              },
          .second_gradient = true,
          .bench = {}};
}

/// What plans merge into one op: eagerly the ops run one by one.
OpCase chain_case(std::string variant, const std::function<Tensor(std::span<const Tensor>)>& run,
                  const std::function<double(double, double, double)>& f) {
  const auto set = [](const Shape& shape, const Shape& last) {
    return std::vector<Input>{{.shape = shape}, {.shape = shape}, {.shape = last}};
  };
  return {.op = "elementwise_chain",
          .variant = std::move(variant),
          .inputs = {set({5, 4, 16}, {16}), set({3, 17}, {1}), set({31, 7, 3}, {7, 3})},
          .run = [run](std::span<const Tensor> in) { return std::vector{run(in)}; },
          .reference =
              [f](std::span<const Array> in) {
                Array y = in[0];
                for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] = f(in[0][i], in[1][i], in[2][i % in[2].shape.numel()]);
                return std::vector{y};
              },
          .second_gradient = true,
          .bench = set({128, 32, 32, 64}, {64})};
}

OpCase has_nonfinite_case() {
  return {.op = "has_nonfinite",
          .variant = "",
          .inputs = {{{.shape = {3, 17}}}, {{.shape = {1}}}, {{.shape = {3, 31, 1000}}}},
          .run = [](std::span<const Tensor> in) { return std::vector{has_nonfinite(in[0])}; },
          .reference = [](std::span<const Array>) { return std::vector{make_array({1})}; },
          .gradient = false,
          .nan_passes = false,
          .bench = {{.shape = {1 << 20}}}};
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases = {
      binary(
          "add", [](auto& a, auto& b) { return add(a, b); }, [](double a, double b) { return a + b; }, -1, 1),
      binary(
          "sub", [](auto& a, auto& b) { return sub(a, b); }, [](double a, double b) { return a - b; }, -1, 1),
      binary(
          "mul", [](auto& a, auto& b) { return mul(a, b); }, [](double a, double b) { return a * b; }, -1, 1),
      unary(
          "add", "number", [](auto& x) { return add(x, 2.5); }, [](double x) { return x + 2.5; }, -1, 1),
      unary(
          "sub", "number", [](auto& x) { return sub(x, 2.5); }, [](double x) { return x - 2.5; }, -1, 1),
      unary(
          "sub", "number_first", [](auto& x) { return sub(2.5, x); }, [](double x) { return 2.5 - x; }, -1, 1),
      unary(
          "mul", "number", [](auto& x) { return mul(x, -1.5); }, [](double x) { return x * -1.5; }, -1, 1),
      binary(
          "div", [](auto& a, auto& b) { return div(a, b); }, [](double a, double b) { return a / b; }, 0.5, 2),
      unary(
          "div", "number", [](auto& x) { return div(x, 3); }, [](double x) { return x / 3; }, -1, 1),
      unary(
          "div", "number_first", [](auto& x) { return div(3, x); }, [](double x) { return 3 / x; }, 0.5, 2),
      binary(
          "maximum", [](auto& a, auto& b) { return maximum(a, b); }, [](double a, double b) { return a > b ? a : b; },
          -1, 1),
      binary(
          "minimum", [](auto& a, auto& b) { return minimum(a, b); }, [](double a, double b) { return a < b ? a : b; },
          -1, 1),
      binary(
          "pow", [](auto& a, auto& b) { return pow(a, b); }, [](double a, double b) { return std::pow(a, b); }, 0.5, 2),
      unary(
          "pow", "square", [](auto& x) { return pow(x, 2); }, [](double x) { return x * x; }, -1, 1),
      unary(
          "pow", "number", [](auto& x) { return pow(x, -1.5); }, [](double x) { return std::pow(x, -1.5); }, 0.5, 2),
      where_case(),
      unary(
          "neg", "", [](auto& x) { return neg(x); }, [](double x) { return -x; }, -1, 1),
      unary(
          "exp", "", [](auto& x) { return exp(x); }, [](double x) { return std::exp(x); }, -3, 3),
      unary(
          "log", "", [](auto& x) { return log(x); }, [](double x) { return std::log(x); }, 0.25, 4),
      unary(
          "sqrt", "", [](auto& x) { return sqrt(x); }, [](double x) { return std::sqrt(x); }, 0.25, 4),
      unary(
          "rsqrt", "", [](auto& x) { return rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); }, 0.25, 4),
      unary(
          "abs", "", [](auto& x) { return abs(x); }, [](double x) { return std::abs(x); }, -1, 1),
      unary(
          "clamp", "", [](auto& x) { return clamp(x, {.low = -0.5, .high = 0.25}); },
          [](double x) { return std::min(std::max(x, -0.5), 0.25); }, -1, 1),
      unary(
          "clamp", "low_only", [](auto& x) { return clamp(x, {.low = 0.1}); },
          [](double x) { return std::max(x, 0.1); }, -1, 1),
      unary(
          "relu", "", [](auto& x) { return relu(x); }, [](double x) { return x > 0 ? x : 0; }, -1, 1),
      unary(
          "gelu", "", [](auto& x) { return gelu(x); },
          [](double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }, -4, 4),
      unary(
          "gelu", "tanh", [](auto& x) { return gelu(x, {.approximate = Gelu::tanh}); },
          [](double x) {
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
          },
          -4, 4),
      unary(
          "silu", "", [](auto& x) { return silu(x); }, [](double x) { return x / (1 + std::exp(-x)); }, -6, 6),
      unary(
          "sigmoid", "", [](auto& x) { return sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -6, 6),
      unary(
          "tanh", "", [](auto& x) { return tanh(x); }, [](double x) { return std::tanh(x); }, -3, 3),
      unary(
          "cast", "round_trip", [](auto& x) { return cast(cast(x, DType::f64), x.dtype()); },
          [](double x) { return x; }, -1, 1),
      chain_case(
          "add_relu", [](auto in) { return relu(add(add(in[0], in[1]), in[2])); },
          [](double a, double b, double c) { return std::max(a + b + c, 0.0); }),
      chain_case(
          "scaled_silu", [](auto in) { return mul(silu(add(mul(in[0], in[2]), in[1])), 0.5); },
          [](double a, double b, double c) { return 0.5 * (a * c + b) / (1 + std::exp(-a * c - b)); }),
      broadcast_to_case(),
      has_nonfinite_case(),
  };
  return cases;
}

}  // namespace tern::testing
