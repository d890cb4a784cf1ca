#include "kernels/ops.h"
#include "tests/naive_pooling.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

struct Way {
  std::string variant;
  int64_t kernel, stride, padding;
  std::vector<Shape> shapes;
};

const std::vector<Way> kWays = {{"2x2", 2, 2, 0, {{3, 4, 6, 17}, {1, 3, 3, 1}, {2, 17, 5, 70}}},
                                {"3x3", 3, 3, 0, {{2, 7, 6, 3}, {1, 3, 3, 17}}},
                                {"3x3_stride2_padding1", 3, 2, 1, {{2, 7, 6, 3}, {1, 1, 1, 31}, {3, 17, 4, 8}}},
                                {"overlapping", 3, 1, 0, {{2, 5, 4, 3}, {1, 3, 3, 17}}},
                                {"gaps", 2, 3, 1, {{2, 5, 8, 3}}},
                                {"wide", 17, 17, 8, {{1, 31, 17, 3}}}};

std::vector<OpCase> pools(const std::string& op, const std::string& suffix, Pooling what,
                          const std::function<Tensor(const Tensor&, const Way&)>& run) {
  std::vector<OpCase> cases;
  for (const Way& way : kWays) {
    std::vector<std::vector<Input>> inputs;
    for (const Shape& shape : way.shapes) inputs.push_back({{.shape = shape}});
    cases.push_back({.op = op,
                     .variant = way.variant + suffix,
                     .inputs = std::move(inputs),
                     .run = [run, way](std::span<const Tensor> in) { return std::vector{run(in[0], way)}; },
                     .reference =
                         [what, way](std::span<const Array> in) {
                           return std::vector{naive_pool2d(in[0], way.kernel, way.stride, way.padding, what)};
                         },
                     .second_gradient = what != Pooling::max,
                     .bench = {{.shape = {128, 32, 32, 32}}}});
  }
  return cases;
}

}  // namespace

std::vector<OpCase> pooling_cases() {
  std::vector<OpCase> cases = pools("max_pool2d", "", Pooling::max, [](const Tensor& x, const Way& w) {
    return max_pool2d(x, {.kernel = w.kernel, .stride = w.stride, .padding = w.padding});
  });
  for (const bool include : {true, false})
    for (OpCase& c :
         pools("avg_pool2d", include ? "" : "_inside", include ? Pooling::average : Pooling::average_of_inside,
               [include](const Tensor&x, const Way&w) {
                 return avg_pool2d(
                     x, {.kernel = w.kernel, .stride = w.stride, .padding = w.padding, .count_include_pad = include});
               }))
      cases.push_back(std::move(c));
  cases.push_back({.op = "global_avg_pool",
                   .variant = "",
                   .inputs = {{{.shape = {3, 5, 4, 17}}}, {{.shape = {1, 1, 1, 1}}}, {{.shape = {2, 31, 31, 3}}}},
                   .run = [](std::span<const Tensor> in) { return std::vector{global_avg_pool(in[0])}; },
                   .reference =
                       [](std::span<const Array> in) {
                         const Shape& s = in[0].shape;
                         Array y{{s[0], s[3]}, std::vector<double>(static_cast<size_t>(s[0] * s[3]))};
                         for (int64_t i = 0; i < s.numel(); ++i)
                           y[i / (s[1] * s[2] * s[3]) * s[3] + i % s[3]] += in[0][i] / static_cast<double>(s[1] * s[2]);
                         return std::vector{y};
                       },
                   .second_gradient = true,
                   .bench = {{.shape = {128, 8, 8, 128}}}});
  return cases;
}

}  // namespace tern::testing
