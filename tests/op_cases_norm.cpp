#include "kernels/ops.h"
#include "tests/naive_norm.h"
#include "tests/naive_pooling.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

std::vector<Input> normed(const Shape& x) {
  return {{.shape = x}, {.shape = {x[-1]}, .low = 0.5, .high = 2}, {.shape = {x[-1]}}};
}

std::vector<Input> normed_planes(const Shape& x) {
  const Shape row{x[-2], x[-1]};
  return {{.shape = x}, {.shape = row, .low = 0.5, .high = 2}, {.shape = row}};
}

OpCase batch_norm_train_case(const std::string& variant, Activation activation, int64_t lane_size) {
  return {.op = "batch_norm",
          .variant = variant,
          .inputs = {normed({5, 3, 2, 17}), normed({6, 3}), normed({3, 17, 31, 1}), normed({2, 40, 33, 5}),
                     normed({6, 31})},
          .run =
              [=](std::span<const Tensor> in) {
                const BatchNormResult r =
                    batch_norm_train(in[0], in[1], in[2], {.eps = 1e-3, .activation = activation});
                return std::vector{r.y, r.mean, r.var};
              },
          .reference =
              [=](std::span<const Array> in) {
                NaiveBatchNorm r = naive_batch_norm(in[0], &in[1], &in[2], 1e-3, activation, lane_size);
                return std::vector{r.y, r.mean, r.var};
              },
          .lane_size = lane_size,
          .bench = normed({128, 32, 32, 32}),
          .bench_lane_size = lane_size == 0 ? 0 : 32};
}

OpCase max_pool_batch_norm_case(const std::string& variant, int64_t kernel, Activation activation, int64_t lane_size) {
  return {.op = "max_pool_batch_norm",
          .variant = variant,
          .inputs = {normed({5, 2 * kernel, 3 * kernel, 17}), normed({3, 4 * kernel + 1, 2 * kernel, 16}), normed({2, 8 * kernel, 8 * kernel, 24})},
          .run =
              [=](std::span<const Tensor> in) {
                const BatchNormResult r = max_pool_batch_norm_train(in[0], {.kernel = kernel}, in[1], in[2], {.eps = 1e-3, .activation = activation});
                return std::vector{r.y, r.mean, r.var};
              },
          .reference =
              [=](std::span<const Array> in) {
                NaiveBatchNorm r = naive_batch_norm(naive_pool2d(in[0], kernel, kernel, 0, Pooling::max), &in[1], &in[2], 1e-3, activation, lane_size);
                return std::vector{r.y, r.mean, r.var};
              },
          .lane_size = lane_size,
          .bench = normed({128, 32, 32, 64}),
          .bench_lane_size = lane_size == 0 ? 0 : 32};
}

OpCase batch_norm_plain_case() {
  return {.op = "batch_norm",
          .variant = "no_affine",
          .inputs = {{{.shape = {5, 3, 17}}}},
          .run = [](std::span<const Tensor> in) { return std::vector{batch_norm_train(in[0], {}, {}).y}; },
          .reference =
              [](std::span<const Array> in) {
                return std::vector{naive_batch_norm(in[0], nullptr, nullptr, 1e-5, Activation::none, 0).y};
              },
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
                return std::vector{
                    batch_norm_eval(in[0], in[1], in[2], in[3], in[4], {.eps = 1e-3, .activation = activation})};
              },
          .reference =
              [=](std::span<const Array> in) {
                Array y = in[0];
                const int64_t channels = y.shape[-1];
                for (int64_t i = 0; i < y.shape.numel(); ++i) {
                  const int64_t c = i % channels;
                  y[i] = naive_activation((y[i] - in[3][c]) / std::sqrt(in[4][c] + 1e-3) * in[1][c] + in[2][c], activation);
                }
                return std::vector{y};
              },
          .f32_tolerance = activation == Activation::gelu ? 1e-4 : 1e-5,  // dgamma of a lone channel: large numbers cancel
          .half = false,  // 16-bit activations want f32 statistics: see batch_norm_test.cpp
          .lane_size = 2,
          .bench = inputs({128, 32, 32, 32})};
}

OpCase layer_norm_case(const std::string& variant, int axes, int64_t lane_size,
                       std::vector<std::vector<Input>> inputs) {
  return {
      .op = "layer_norm",
      .variant = variant,
      .inputs = std::move(inputs),
      .run =
          [=](std::span<const Tensor> in) {
            return std::vector{layer_norm(in[0], in[1], in[2], {.axes = axes, .eps = 1e-3})};
          },
      .reference = [](std::span<const Array> in) { return std::vector{naive_layer_norm(in[0], in[1], in[2], 1e-3)}; },
      .lane_size = lane_size,
      .bench = axes == 2 ? normed_planes({128, 64, 256}) : normed({128, 64, 256})};
}

OpCase normalize_images_case() {
  return {.op = "normalize_images",
          .variant = "",
          .inputs = {{{.shape = {3, 5, 17, 3}, .low = 0, .high = 256, .floating = false, .fixed = DType::u8}},
                     {{.shape = {1, 1, 31, 3}, .low = 0, .high = 256, .floating = false, .fixed = DType::u8}}},
          .run =
              [](std::span<const Tensor> in) {
                return std::vector{normalize_images(in[0], {.mean = {0.4914, 0.4822, 0.5}, .std = {0.247, 0.2435, 1}})};
              },
          .reference =
              [](std::span<const Array> in) {
                // The steps of ToTensor and Normalize, each rounded to f32: the result is exact.
                const float mean[] = {0.4914f, 0.4822f, 0.5f}, std[] = {0.247f, 0.2435f, 1};
                Array y = in[0];
                for (int64_t i = 0; i < y.shape.numel(); ++i)
                  y[i] = (static_cast<float>(y[i]) / 255.0f - mean[i % 3]) / std[i % 3];
                return std::vector{y};
              },
          .f32_tolerance = 0,
          .half = false,
          .gradient = false,
          .nan_passes = false,
          .bench = {{.shape = {128, 32, 32, 3}, .low = 0, .high = 256, .floating = false, .fixed = DType::u8}}};
}

}  // namespace

std::vector<OpCase> norm_cases() {
  return {normalize_images_case(),
          layer_norm_case("", 1, 0, {normed({5, 3, 17}), normed({3, 1}), normed({1, 31}), normed({2, 1100})}),
          layer_norm_case("lanes", 1, 2, {normed({5, 3, 17}), normed({3, 70})}),
          layer_norm_case("two_axes", 2, 2, {normed_planes({5, 3, 17}), normed_planes({3, 31})}),
          batch_norm_train_case("", Activation::none, 0),
          batch_norm_train_case("relu", Activation::relu, 0),
          batch_norm_train_case("lanes", Activation::none, 2),
          batch_norm_train_case("lanes_relu", Activation::relu, 3),
          batch_norm_train_case("lanes_gelu", Activation::gelu, 3),
          max_pool_batch_norm_case("2x2", 2, Activation::none, 0),
          max_pool_batch_norm_case("lanes_2x2_gelu", 2, Activation::gelu, 3),
          max_pool_batch_norm_case("lanes_3x3_relu", 3, Activation::relu, 2),
          batch_norm_plain_case(),
          batch_norm_eval_case("", Activation::none),
          batch_norm_eval_case("_relu", Activation::relu),
          batch_norm_eval_case("_gelu", Activation::gelu)};
}

}  // namespace tern::testing
