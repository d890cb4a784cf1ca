// Rows of matrix products and the linear layer, with naive loops as references.
#include "core/lanes.h"
#include "kernels/bias_grad/bias_grad.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_wgrad/linear_wgrad.h"
#include "kernels/matmul/matmul.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

/// sum_k a(m,k) b(k,n) for each of `batches` matrices: which matrix of a and of b.
Array naive_product(const Array& a, const Array& b, MatMul options, const Shape& shape, std::vector<std::pair<int64_t, int64_t>> batches) {
  Array y{shape, {}};
  const int64_t m = shape[-2], n = shape[-1], k = a.shape[options.transpose_a ? -2 : -1];
  for (const auto& [in_a, in_b] : batches)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t q = 0; q < k; ++q)
          sum += a[in_a * m * k + (options.transpose_a ? q * m + i : i * k + q)] *
                 b[in_b * k * n + (options.transpose_b ? j * k + q : q * n + j)];
        y.values.push_back(sum);
      }
  return y;
}

OpCase matmul_row(std::string variant, MatMul options, std::vector<std::vector<Input>> inputs,
                  std::vector<std::pair<int64_t, int64_t>> batches, std::vector<int64_t> batch_extents) {
  OpCase c;
  c.op = "matmul";
  c.variant = std::move(variant);
  c.inputs = std::move(inputs);
  c.run = [options](std::span<const Tensor> in) { return std::vector{matmul(in[0], in[1], options)}; };
  c.reference = [=](std::span<const Array> in) {
    std::vector<int64_t> extents = batch_extents;
    extents.push_back(in[0].shape[options.transpose_a ? -1 : -2]);
    extents.push_back(in[1].shape[options.transpose_b ? -2 : -1]);
    return std::vector{naive_product(in[0], in[1], options, Shape(extents), batches)};
  };
  c.second_gradient = true;
  return c;
}

OpCase linear_row(bool has_bias) {
  OpCase c;
  c.op = "linear";
  c.variant = has_bias ? "bias" : "";
  for (auto [rows, in, out] : {std::tuple{5, 7, 3}, {1, 1, 1}, {31, 17, 40}, {3, 300, 33}}) {
    c.inputs.push_back({{.shape = {rows, in}}, {.shape = {out, in}}});
    if (has_bias) c.inputs.back().push_back({.shape = {out}});
  }
  c.bench = {{.shape = {128, 400}}, {.shape = {120, 400}}};  // lenet's fc1
  c.bench_flops = 2.0 * 128 * 400 * 120;
  if (has_bias) c.bench.push_back({.shape = {120}});
  c.run = [=](std::span<const Tensor> in) {
    return std::vector{has_bias ? linear(in[0], in[1], in[2]) : linear(in[0], in[1])};
  };
  c.reference = [=](std::span<const Array> in) {
    Array y = naive_product(in[0], in[1], {.transpose_b = true}, {in[0].shape[0], in[1].shape[0]}, {{0, 0}});
    if (has_bias)
      for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] += in[2][i % y.shape[1]];
    return std::vector{y};
  };
  c.second_gradient = true;
  c.lane_size = 2;
  return c;
}

OpCase linear_wgrad_row() {
  OpCase c;
  c.op = "linear_wgrad";
  c.inputs = {{{.shape = {5, 3}}, {.shape = {5, 7}}}, {{.shape = {1, 1}}, {.shape = {1, 1}}},
              {{.shape = {17, 2, 31}}, {.shape = {17, 2, 3}}}, {{.shape = {600, 13}}, {.shape = {600, 33}}}};
  c.bench = {{.shape = {128, 120}}, {.shape = {128, 400}}};
  c.bench_flops = 2.0 * 128 * 400 * 120;
  c.bench_lane_size = 32;
  c.run = [](std::span<const Tensor> in) { return std::vector{linear_wgrad(in[0], in[1])}; };
  c.reference = [](std::span<const Array> in) {
    Array dy = in[0];
    dy.shape = {dy.shape.numel() / dy.shape[-1], dy.shape[-1]};
    return std::vector{naive_product(dy, in[1], {.transpose_a = true}, {dy.shape[-1], in[1].shape[-1]}, {{0, 0}})};
  };
  c.second_gradient = true;
  c.lane_size = 4;
  return c;
}

OpCase bias_grad_row() {
  OpCase c;
  c.op = "bias_grad";
  c.inputs = {{{.shape = {5, 3}}}, {{.shape = {1, 1}}}, {{.shape = {3, 17, 31}}}, {{.shape = {7, 9, 9, 33}}}, {{.shape = {31, 5, 5, 64}}}};
  c.bench = {{.shape = {128, 32, 32, 32}}};
  c.bench_lane_size = 32;
  c.run = [](std::span<const Tensor> in) { return std::vector{bias_grad(in[0])}; };
  c.reference = [](std::span<const Array> in) {
    const int64_t width = in[0].shape[-1];
    Array y{{width}, std::vector<double>(static_cast<size_t>(width))};
    for (int64_t i = 0; i < in[0].shape.numel(); ++i) y[i % width] += in[0][i];
    return std::vector{y};
  };
  c.lane_size = 2;
  return c;
}

}  // namespace

std::vector<OpCase> matmul_cases() {
  const auto pair = [](Shape a, Shape b) { return std::vector<Input>{{.shape = a}, {.shape = b}}; };
  std::vector<OpCase> cases = {
      matmul_row("", {}, {pair({3, 5}, {5, 4}), pair({1, 1}, {1, 1}), pair({17, 31}, {31, 33}), pair({31, 300}, {300, 3})}, {{0, 0}}, {}),
      matmul_row("ta", {.transpose_a = true}, {pair({5, 3}, {5, 4}), pair({31, 17}, {31, 65})}, {{0, 0}}, {}),
      matmul_row("tb", {.transpose_b = true}, {pair({3, 5}, {4, 5}), pair({17, 31}, {65, 31})}, {{0, 0}}, {}),
      matmul_row("ta_tb", {true, true}, {pair({5, 3}, {4, 5}), pair({31, 17}, {65, 31})}, {{0, 0}}, {}),
      matmul_row("batched", {}, {pair({3, 4, 5}, {3, 5, 2}), pair({3, 17, 1}, {3, 1, 31})}, {{0, 0}, {1, 1}, {2, 2}}, {3}),
      matmul_row("shared_b", {}, {pair({2, 4, 5}, {5, 3})}, {{0, 0}, {1, 0}}, {2}),
      matmul_row("shared_a", {true, true}, {pair({5, 4}, {2, 3, 5})}, {{0, 0}, {0, 1}}, {2}),
      matmul_row("broadcast", {.transpose_b = true}, {pair({2, 1, 3, 5}, {3, 4, 5})},
                 {{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}, {2, 3}),
  };
  for (size_t i = 0; i < 4; ++i) {  // every transposition
    cases[i].bench = pair({256, 256}, {256, 256});
    cases[i].bench_flops = 2.0 * 256 * 256 * 256;
  }
  cases.push_back(linear_row(true));
  cases.push_back(linear_row(false));
  cases.push_back(linear_wgrad_row());
  cases.push_back(bias_grad_row());
  return cases;
}

}  // namespace tern::testing
