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
    cases.push_back({.op = op,
                     .variant = variant,
                     .inputs = std::move(inputs),
                     .run = [run, axes, keepdim](std::span<const Tensor> in) {
                       return std::vector{run(in[0], Reduction{axes, keepdim})};
                     },
                     .reference = [f, axes, keepdim](std::span<const Array> in) {
                       return std::vector{naive_reduce(in[0], axes, keepdim, f)};
                     },
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

}  // namespace

std::vector<OpCase> reduction_cases() {
  std::vector<OpCase> cases;
  const auto append = [&cases](std::vector<OpCase> more) {
    for (OpCase& c : more) cases.push_back(std::move(c));
  };
  append(reductions("sum", [](auto& x, auto& o) { return sum(x, o); }, total, true));
  append(reductions("mean", [](auto& x, auto& o) { return mean(x, o); }, average, true));
  return cases;
}

}  // namespace tern::testing
