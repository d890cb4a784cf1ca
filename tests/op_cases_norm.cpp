#include "kernels/ops.h"
#include "tests/naive_norm.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

std::vector<Input> normed(const Shape& x) {
  return {{.shape = x}, {.shape = {x[-1]}, .low = 0.5, .high = 2}, {.shape = {x[-1]}}};
}

OpCase batch_norm_train_case(const std::string& variant, Activation activation, int64_t lane_size) {
  const bool relu = activation == Activation::relu;
  return {.op = "batch_norm",
          .variant = variant,
          .inputs = {normed({5, 3, 2, 17}), normed({6, 3}), normed({3, 17, 31, 1}), normed({2, 40, 33, 5}), normed({6, 31})},
          .run =
              [=](std::span<const Tensor> in) {
                const BatchNormResult r = batch_norm_train(in[0], in[1], in[2], {.eps = 1e-3, .activation = activation});
                return std::vector{r.y, r.mean, r.var};
              },
          .reference =
              [=](std::span<const Array> in) {
                NaiveBatchNorm r = naive_batch_norm(in[0], &in[1], &in[2], 1e-3, relu, lane_size);
                return std::vector{r.y, r.mean, r.var};
              },
          .lane_size = lane_size,
          .bench = normed({32, 32, 32, 32})};
}

OpCase batch_norm_plain_case() {
  return {.op = "batch_norm",
          .variant = "no_affine",
          .inputs = {{{.shape = {5, 3, 17}}}},
          .run = [](std::span<const Tensor> in) { return std::vector{batch_norm_train(in[0], {}, {}).y}; },
          .reference = [](std::span<const Array> in) { return std::vector{naive_batch_norm(in[0], nullptr, nullptr, 1e-5, false, 0).y}; },
          .bench = {}};
}

OpCase batch_norm_eval_case(const std::string& variant, Activation activation) {
  auto inputs = [](const Shape& x) {
    std::vector<Input> set = normed(x);
    set.push_back({.shape = {x[-1]}, .differentiable = false});
    set.push_back({.shape = {x[-1]}, .low = 0.2, .high = 2, .differentiable = false});
    return set;
  };
  return {.op = "batch_norm",
          .variant = "eval" + variant,
          .inputs = {inputs({5, 3, 2, 17}), inputs({1, 3}), inputs({3, 31, 17, 1})},
          .run =
              [=](std::span<const Tensor> in) {
                return std::vector{batch_norm_eval(in[0], in[1], in[2], in[3], in[4], {.eps = 1e-3, .activation = activation})};
              },
          .reference =
              [=](std::span<const Array> in) {
                Array y = in[0];
                const int64_t channels = y.shape[-1];
                for (int64_t i = 0; i < y.shape.numel(); ++i) {
                  const int64_t c = i % channels;
                  y[i] = (y[i] - in[3][c]) / std::sqrt(in[4][c] + 1e-3) * in[1][c] + in[2][c];
                  if (activation == Activation::relu && y[i] < 0) y[i] = 0;
                }
                return std::vector{y};
              },
          .half = false,  // 16-bit activations want f32 statistics: see batch_norm_test.cpp
          .lane_size = 2,
          .bench = inputs({32, 32, 32, 32})};
}

}  // namespace

std::vector<OpCase> norm_cases() {
  return {batch_norm_train_case("", Activation::none, 0),
          batch_norm_train_case("relu", Activation::relu, 0),
          batch_norm_train_case("lanes", Activation::none, 2),
          batch_norm_train_case("lanes_relu", Activation::relu, 3),
          batch_norm_plain_case(),
          batch_norm_eval_case("", Activation::none),
          batch_norm_eval_case("_relu", Activation::relu)};
}

}  // namespace tern::testing
