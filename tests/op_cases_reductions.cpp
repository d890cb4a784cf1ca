#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/ops.h"
#include "tests/naive_elementwise.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

using Reduce = std::function<Tensor(const Tensor&, const Reduction&)>;
using Values = const std::vector<double>&;

/// A row for each way that axes lie: all, rows, columns, alternating, with lanes-sized and leaf-crossing extents.
std::vector<OpCase> reductions(const std::string& op, const Reduce& run, const std::function<double(Values)>& f,
                               bool second) {
  std::vector<OpCase> cases;
  const auto way = [&](const char* variant, std::vector<int> axes, bool keepdim, const std::vector<Shape>& shapes) {
    std::vector<std::vector<Input>> inputs;
    for (const Shape& shape : shapes) inputs.push_back({{.shape = shape}});
    cases.push_back(
        {.op = op,
         .variant = variant,
         .inputs = std::move(inputs),
         .run =
             [run, axes, keepdim](std::span<const Tensor> in) {
               return std::vector{run(in[0], Reduction{axes, keepdim})};
             },
         .reference = [f, axes, keepdim](
                          std::span<const Array> in) { return std::vector{naive_reduce(in[0], axes, keepdim, f)}; },
         .second_gradient = second,
         .bench = {{.shape = {32, 32, 32, 32}}}});
  };
  way("all", {}, false, {{3, 17}, {1}, {31}, {2, 3, 1100}});
  way("rows", {-1}, false, {{3, 17}, {5, 1}, {2, 1100}, {1, 31}});
  way("columns_keepdim", {0}, true, {{17, 3}, {1, 31}, {40, 300}, {31}});
  way("middle", {1}, false, {{3, 17, 4}, {2, 31, 1}, {1, 3, 300}});
  way("alternating", {0, -2}, true, {{3, 4, 17, 2}, {5, 3, 1, 7}, {2, 1, 3, 31}});
  way("outer_and_inner", {0, 2}, false, {{3, 4, 17}, {31, 3, 2}});
  return cases;
}

double total(Values v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double average(Values v) { return total(v) / static_cast<double>(v.size()); }
double largest(Values v) { return *std::max_element(v.begin(), v.end()); }
double smallest(Values v) { return *std::min_element(v.begin(), v.end()); }
double squares(Values v, double center) {
  return std::accumulate(v.begin(), v.end(), 0.0, [&](double s, double x) { return s + (x - center) * (x - center); });
}
double length(Values v) { return std::sqrt(squares(v, 0)); }
double variance(Values v) { return squares(v, average(v)) / static_cast<double>(v.size()); }
double unbiased(Values v) { return squares(v, average(v)) / static_cast<double>(v.size() - 1); }

OpCase argmax_case(const char* variant, int axis, bool keepdim, const std::vector<Shape>& shapes) {
  std::vector<std::vector<Input>> inputs;
  for (const Shape& shape : shapes) inputs.push_back({{.shape = shape}});
  return {
      .op = "argmax",
      .variant = variant,
      .inputs = std::move(inputs),
      .run = [=](std::span<const Tensor> in) { return std::vector{argmax(in[0], {.axis = axis, .keepdim = keepdim})}; },
      .reference =
          [=](std::span<const Array> in) {
            return std::vector{naive_reduce(in[0], {axis}, keepdim, [](Values v) {
              return static_cast<double>(std::max_element(v.begin(), v.end()) - v.begin());
            })};
          },
      .gradient = false,
      .nan_passes = false,
      .bench = {{.shape = {4096, 10}}}};
}

}  // namespace

std::vector<OpCase> reduction_cases() {
  std::vector<OpCase> cases;
  const auto append = [&cases](std::vector<OpCase> more) {
    for (OpCase& c : more) cases.push_back(std::move(c));
  };
  append(reductions(
      "sum", [](auto& x, auto& o) { return sum(x, o); }, total, true));
  append(reductions(
      "mean", [](auto& x, auto& o) { return mean(x, o); }, average, true));
  append(reductions(
      "max", [](auto& x, auto& o) { return max(x, o); }, largest, true));
  append(reductions(
      "min", [](auto& x, auto& o) { return min(x, o); }, smallest, true));
  append(reductions(
      "norm", [](auto& x, auto& o) { return norm(x, o); }, length, true));
  append(reductions(
      "var", [](auto& x, auto& o) { return var(x, {.axes = o.axes, .keepdim = o.keepdim, .correction = 0}); }, variance,
      true));
  cases.push_back(
      {.op = "var",
       .variant = "unbiased",
       .inputs = {{{.shape = {17, 3}}}, {{.shape = {31, 1}}}},
       .run = [](std::span<const Tensor> in) { return std::vector{var(in[0], {.axes = {0}})}; },
       .reference = [](std::span<const Array> in) { return std::vector{naive_reduce(in[0], {0}, false, unbiased)}; },
       .second_gradient = true,
       .bench = {}});
  cases.push_back(argmax_case("last", -1, false, {{3, 17}, {31, 1}, {1, 3, 31}}));
  cases.push_back(argmax_case("first_keepdim", 0, true, {{17, 3}, {1, 31}, {31}}));
  cases.push_back({.op = "sum_to",
                   .variant = "lanes",
                   .inputs = {{{.shape = {7, 3, 17}}}, {{.shape = {8, 1, 1}}}, {{.shape = {31, 3, 1}}}},
                   .run =
                       [](std::span<const Tensor> in) {
                         return std::vector{sum_to(in[0], {in[0].size(1), 1}, in[0].context().lane_size())};
                       },
                   .reference =
                       [](std::span<const Array> in) {
                         return std::vector{naive_reduce(naive_reduce(in[0], {2}, true, total), {0}, false, total)};
                       },
                   .second_gradient = true,
                   .lane_size = 2,
                   .bench = {}});
  return cases;
}

}  // namespace tern::testing
