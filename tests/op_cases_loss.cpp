#include <cmath>

#include "core/rng.h"
#include "kernels/ops.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

/// Log-softmax along an axis, by its definition.
Array naive_log_softmax(const Array& x, int axis) {
  const int at = x.shape.normalize_axis(axis);
  int64_t inner = 1;
  for (int i = at + 1; i < x.shape.rank(); ++i) inner *= x.shape[i];
  const int64_t count = x.shape[at];
  Array y = x;
  for (int64_t i = 0; i < x.shape.numel(); ++i) {
    const int64_t first = i / (count * inner) * count * inner + i % inner;
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += std::exp(x[first + k * inner]);
    y[i] = x[i] - std::log(sum);
  }
  return y;
}

OpCase softmax_case(const std::string& variant, bool log, int axis, const std::vector<Shape>& shapes) {
  std::vector<std::vector<Input>> inputs;
  for (const Shape& shape : shapes) inputs.push_back({{.shape = shape, .low = -3, .high = 3}});
  return {.op = log ? "log_softmax" : "softmax",
          .variant = variant,
          .inputs = std::move(inputs),
          .run =
              [=](std::span<const Tensor> in) {
                return std::vector{log ? log_softmax(in[0], axis) : softmax(in[0], axis)};
              },
          .reference =
              [=](std::span<const Array> in) {
                Array y = naive_log_softmax(in[0], axis);
                for (double& v : y.values) v = log ? v : std::exp(v);
                return std::vector{y};
              },
          .second_gradient = true,
          .bench = {{.shape = {128, 100}}}};
}

std::vector<Input> classified(int64_t rows, int64_t classes) {
  return {{.shape = {rows, classes}, .low = -3, .high = 3},
          {.shape = {rows}, .low = 0, .high = static_cast<double>(classes), .floating = false}};
}

OpCase cross_entropy_case(const std::string& variant, CrossEntropy options, int64_t lane_size) {
  return {.op = "cross_entropy",
          .variant = variant,
          .inputs = {classified(5, 3), classified(1, 1), classified(31, 17), classified(300, 10)},
          .run = [=](std::span<const Tensor> in) { return std::vector{cross_entropy(in[0], in[1], options)}; },
          .reference =
              [=](std::span<const Array> in) {
                const int64_t rows = in[0].shape[0], classes = in[0].shape[1];
                const Array log_p = naive_log_softmax(in[0], 1);
                Array losses{{rows}, {}};
                for (int64_t r = 0; r < rows; ++r) {
                  double loss = 0;
                  for (int64_t c = 0; c < classes; ++c) {
                    const double target = (in[1][r] == static_cast<double>(c) ? 1 - options.label_smoothing : 0) +
                                          options.label_smoothing / static_cast<double>(classes);
                    loss -= target * log_p[r * classes + c];
                  }
                  losses.values.push_back(loss);
                }
                if (options.reduction == LossReduction::none) return std::vector{losses};
                double sum = 0;
                for (double loss : losses.values) sum += loss;
                return std::vector{
                    Array{{}, {options.reduction == LossReduction::mean ? sum / static_cast<double>(rows) : sum}}};
              },
          .lane_size = lane_size,
          .bench = classified(128, 10)};
}

OpCase top_k_case() {
  return {.op = "top_k_correct",
          .variant = "",
          .inputs = {classified(31, 17), classified(5, 3), classified(1, 1)},
          .run =
              [](std::span<const Tensor> in) {
                return std::vector{top_k_correct(in[0], in[1], 1), top_k_correct(in[0], in[1], 5)};
              },
          .reference =
              [](std::span<const Array> in) {
                const int64_t rows = in[0].shape[0], classes = in[0].shape[1];
                std::vector<Array> y(2, Array{{rows}, std::vector<double>(static_cast<size_t>(rows))});
                for (int64_t r = 0; r < rows; ++r) {
                  const int64_t label = static_cast<int64_t>(in[1][r]);
                  int64_t ahead = 0;
                  for (int64_t c = 0; c < classes; ++c)
                    ahead += in[0][r * classes + c] > in[0][r * classes + label] ||
                             (in[0][r * classes + c] == in[0][r * classes + label] && c < label);
                  y[0][r] = ahead < 1;
                  y[1][r] = ahead < 5;
                }
                return y;
              },
          .gradient = false,
          .nan_passes = false,
          .bench = classified(1000, 100)};
}

/// The context's default key: its default seed, step 0, rows as samples.
OpCase dropout_case() {
  return {.op = "dropout",
          .variant = "",
          .inputs = {{{.shape = {5, 17}}}, {{.shape = {3, 1}}}, {{.shape = {2, 3, 31}}}, {{.shape = {300, 64}}}},
          .run = [](std::span<const Tensor> in) { return std::vector{dropout(in[0], {.p = 0.25, .layer = 3})}; },
          .reference =
              [](std::span<const Array> in) {
                Array y = in[0];
                const int64_t width = y.shape.numel() / y.shape[0];
                for (int64_t i = 0; i < y.shape.numel(); ++i) {
                  const Random4 r =
                      random4({Context::Options{}.seed, 0, static_cast<uint64_t>(i / width), kRngFirstLayer + 3},
                              static_cast<uint32_t>(i % width / 4));
                  y[i] = uniform01(r.v[i % width % 4]) < 0.25f ? 0 : y[i] / 0.75;
                }
                return std::vector{y};
              },
          .second_gradient = true,
          .bench = {{.shape = {128, 64}}}};
}

}  // namespace

std::vector<OpCase> loss_cases() {
  const std::vector<Shape> shapes = {{5, 17}, {3, 1}, {1, 31}, {31}};
  return {softmax_case("", false, -1, shapes),
          softmax_case("axis", false, 1, {{3, 17, 4}, {2, 1, 5}}),
          softmax_case("", true, -1, shapes),
          softmax_case("axis", true, 0, {{17, 3}, {1, 31}}),
          cross_entropy_case("", {}, 0),
          cross_entropy_case("smoothing_lanes", {.label_smoothing = 0.2}, 3),
          cross_entropy_case("sum", {.label_smoothing = 1, .reduction = LossReduction::sum}, 0),
          cross_entropy_case("per_sample", {.label_smoothing = 0.1, .reduction = LossReduction::none}, 2),
          top_k_case(),
          dropout_case()};
}

}  // namespace tern::testing
