// Rows of the ops that move elements without computing.
#include "kernels/reshape/reshape.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

/// A row of one input whose output's element i is the input's element source(i), or 0 where that is negative.
template <class Run, class Source>
OpCase moving_row(std::string op, std::string variant, std::vector<Shape> shapes, Run run, Source source) {
  OpCase c;
  c.op = std::move(op);
  c.variant = std::move(variant);
  for (const Shape& shape : shapes) c.inputs.push_back({{.shape = shape}});
  c.run = [run](std::span<const Tensor> in) { return std::vector<Tensor>{run(in[0])}; };
  c.reference = [source](std::span<const Array> in) { return std::vector<Array>{source(in[0])}; };
  c.f32_tolerance = 0;
  c.second_gradient = true;
  return c;
}

}  // namespace

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> cases;
  cases.push_back(moving_row("reshape", "", {{3, 4, 5}, {1, 1, 1}, {17, 3, 31}},
                             [](const Tensor& x) { return reshape(x, {x.size(1), -1}); },
                             [](Array x) {
                               x.shape = {x.shape[1], x.shape[0] * x.shape[2]};
                               return x;
                             }));
  cases.push_back(moving_row("reshape", "flatten", {{3, 4, 5}, {17, 3, 31}}, [](const Tensor& x) { return flatten(x); },
                             [](Array x) {
                               x.shape = {x.shape[0], x.shape[1] * x.shape[2]};
                               return x;
                             }));
  return cases;
}

}  // namespace tern::testing
