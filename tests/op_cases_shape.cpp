// Rows of the ops that move elements without computing.
#include "kernels/concat/concat.h"
#include "kernels/flip/flip.h"
#include "kernels/gather/gather.h"
#include "kernels/pad/pad.h"
#include "kernels/permute/permute.h"
#include "kernels/reshape/reshape.h"
#include "kernels/slice/slice.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

using Index = std::vector<int64_t>;

/// The element of `x` at an index of one number an axis.
double at(const Array& x, const Index& index) {
  int64_t flat = 0;
  for (int axis = 0; axis < x.shape.rank(); ++axis) flat = flat * x.shape[axis] + index[static_cast<size_t>(axis)];
  return x[flat];
}

/// An array of `shape` whose element at each index is value(index).
template <class Value>
Array generate(const Shape& shape, const Value& value) {
  Array y{shape, {}};
  for (int64_t i = 0; i < shape.numel(); ++i) {
    Index index(static_cast<size_t>(shape.rank()));
    int64_t rest = i;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      index[static_cast<size_t>(axis)] = rest % shape[axis];
      rest /= shape[axis];
    }
    y.values.push_back(value(index));
  }
  return y;
}

using Inputs = std::span<const Array>;

OpCase row(std::string op, std::string variant, std::vector<std::vector<Input>> inputs,
           std::function<Tensor(std::span<const Tensor>)> run, std::function<Array(Inputs)> reference) {
  OpCase c;
  c.op = std::move(op);
  c.variant = std::move(variant);
  c.inputs = std::move(inputs);
  c.run = [run = std::move(run)](std::span<const Tensor> in) { return std::vector<Tensor>{run(in)}; };
  c.reference = [reference = std::move(reference)](Inputs in) { return std::vector<Array>{reference(in)}; };
  c.f32_tolerance = 0;
  c.second_gradient = true;
  return c;
}

std::vector<std::vector<Input>> one_input(std::initializer_list<Shape> shapes) {
  std::vector<std::vector<Input>> sets;
  for (const Shape& shape : shapes) sets.push_back({{.shape = shape}});
  return sets;
}

OpCase slice_row(std::string variant, int axis, int64_t begin, int64_t end, std::initializer_list<Shape> shapes) {
  return row("slice", std::move(variant), one_input(shapes),
             [=](std::span<const Tensor> in) { return slice(in[0], axis, begin, end); },
             [=](Inputs in) {
               return generate(in[0].shape.with(axis, end - begin), [&](Index i) {
                 i[static_cast<size_t>(in[0].shape.normalize_axis(axis))] += begin;
                 return at(in[0], i);
               });
             });
}

OpCase permute_row(std::string variant, std::vector<int> axes, std::initializer_list<Shape> shapes) {
  return row("permute", std::move(variant), one_input(shapes),
             [=](std::span<const Tensor> in) { return permute(in[0], axes); },
             [=](Inputs in) {
               std::vector<int64_t> extents;
               for (int axis : axes) extents.push_back(in[0].shape[axis]);
               return generate(Shape(extents), [&](const Index& i) {
                 Index source(i.size());
                 for (size_t k = 0; k < i.size(); ++k) source[static_cast<size_t>(axes[k])] = i[k];
                 return at(in[0], source);
               });
             });
}

OpCase concat_row(std::string variant, int axis, std::vector<std::vector<Input>> inputs) {
  return row("concat", std::move(variant), std::move(inputs), [=](std::span<const Tensor> in) { return concat(in, axis); },
             [=](Inputs in) {
               int64_t extent = 0;
               for (const Array& x : in) extent += x.shape[axis];
               return generate(in[0].shape.with(axis, extent), [&](Index i) {
                 size_t k = 0;
                 for (int64_t& place = i[static_cast<size_t>(axis)]; place >= in[k].shape[axis]; ++k) place -= in[k].shape[axis];
                 return at(in[k], i);
               });
             });
}

OpCase pad_row(std::string variant, Pad options, std::initializer_list<Shape> shapes) {
  return row("pad", std::move(variant), one_input(shapes), [=](std::span<const Tensor> in) { return pad(in[0], options); },
             [=](Inputs in) {
               Shape shape = in[0].shape;
               for (int axis = 0; axis < shape.rank(); ++axis)
                 shape = shape.with(axis, shape[axis] + options.before[static_cast<size_t>(axis)] + options.after[static_cast<size_t>(axis)]);
               return generate(shape, [&](Index i) {
                 for (size_t k = 0; k < i.size(); ++k) {
                   const int64_t extent = in[0].shape[static_cast<int>(k)];
                   i[k] -= options.before[k];
                   const bool inside = i[k] >= 0 && i[k] < extent;
                   if (!inside && options.mode == PadMode::zero) return 0.0;
                   if (i[k] < 0) i[k] = -i[k];
                   if (i[k] >= extent) i[k] = 2 * (extent - 1) - i[k];
                 }
                 return at(in[0], i);
               });
             });
}

OpCase flip_row(std::string variant, std::initializer_list<int> axes, std::initializer_list<Shape> shapes) {
  const std::vector<int> list = axes;
  return row("flip", std::move(variant), one_input(shapes),
             [=](std::span<const Tensor> in) { return list.size() == 1 ? flip(in[0], {list[0]}) : flip(in[0], {list[0], list[1]}); },
             [=](Inputs in) {
               return generate(in[0].shape, [&](Index i) {
                 for (int axis : list) i[static_cast<size_t>(axis)] = in[0].shape[axis] - 1 - i[static_cast<size_t>(axis)];
                 return at(in[0], i);
               });
             });
}

OpCase gather_row(std::string variant, int axis, std::vector<std::vector<Input>> inputs) {
  OpCase c = row("gather", std::move(variant), std::move(inputs),
                 [=](std::span<const Tensor> in) { return gather(in[0], in[1], axis); },
                 [=](Inputs in) {
                   return generate(in[0].shape.with(axis, in[1].shape[0]), [&](Index i) {
                     int64_t& place = i[static_cast<size_t>(axis)];
                     place = static_cast<int64_t>(in[1][place]);
                     return at(in[0], i);
                   });
                 });
  c.nan_passes = false;  // the row with the NaN may not be asked for
  return c;
}

OpCase scatter_add_row() {
  const auto indices = [](int64_t count) { return Input{.shape = {count}, .low = 0, .high = 4, .floating = false}; };
  OpCase c = row("scatter_add", "", {{{.shape = {5, 3}}, indices(5)}, {{.shape = {17, 300}}, indices(17)}},
                 [](std::span<const Tensor> in) { return scatter_add(in[0], in[1], 4); },
                 [](Inputs in) {
                   Array y = generate(in[0].shape.with(0, 4), [](const Index&) { return 0.0; });
                   for (int64_t i = 0; i < in[0].shape.numel(); ++i) {
                     const int64_t width = in[0].shape[1];
                     y[static_cast<int64_t>(in[1][i / width]) * width + i % width] += in[0][i];
                   }
                   return y;
                 });
  c.f32_tolerance = 1e-6;
  return c;
}

}  // namespace

std::vector<OpCase> shape_cases() {
  const auto indices = [](int64_t count, double high) { return Input{.shape = {count}, .low = 0, .high = high, .floating = false}; };
  std::vector<OpCase> cases = {
      row("reshape", "", one_input({{3, 4, 5}, {1, 1, 1}, {17, 3, 31}}),
          [](std::span<const Tensor> in) { return reshape(in[0], {in[0].size(1), -1}); },
          [](Inputs in) { return Array{{in[0].shape[1], in[0].shape[0] * in[0].shape[2]}, in[0].values}; }),
      row("reshape", "flatten", one_input({{3, 4, 5}, {17, 3, 31}}),
          [](std::span<const Tensor> in) { return flatten(in[0]); },
          [](Inputs in) { return Array{{in[0].shape[0], in[0].shape[1] * in[0].shape[2]}, in[0].values}; }),
      slice_row("leading", 0, 1, 3, {{3, 4, 5}, {17, 31}}),
      slice_row("inner", 1, 1, 3, {{3, 4, 5}, {17, 31, 1}, {31, 3}}),
      slice_row("last", -1, 0, 1, {{3, 4, 5}, {1, 1}}),
      permute_row("nhwc_nchw", {0, 3, 1, 2}, {{3, 4, 5, 2}, {1, 1, 1, 1}, {2, 17, 3, 31}, {3, 9, 9, 65}}),
      permute_row("nchw_nhwc", {0, 2, 3, 1}, {{3, 4, 5, 2}, {2, 31, 17, 3}, {2, 70, 8, 8}}),
      permute_row("reverse", {2, 1, 0}, {{3, 4, 5}, {17, 1, 31}, {100, 3, 70}}),
      permute_row("swap_outer", {1, 0, 2}, {{3, 4, 5}, {130, 3, 17}}),
      concat_row("leading", 0, {{{.shape = {3, 4}}, {.shape = {1, 4}}, {.shape = {17, 4}}}}),
      concat_row("inner", 1, {{{.shape = {3, 2, 5}}, {.shape = {3, 31, 5}}}, {{.shape = {17, 1}}, {.shape = {17, 3}}}}),
      pad_row("zero", {.before = {0, 2, 1, 0}, .after = {0, 1, 3, 0}}, {{3, 4, 5, 2}, {1, 17, 1, 31}}),
      pad_row("reflect", {.before = {0, 2, 1, 0}, .after = {0, 2, 3, 0}, .mode = PadMode::reflect}, {{2, 3, 4, 2}, {1, 17, 5, 3}}),
      pad_row("reflect_last", {.before = {1, 2}, .after = {0, 1}, .mode = PadMode::reflect}, {{2, 3}, {17, 31}}),
      flip_row("width", {2}, {{2, 3, 5, 2}, {1, 17, 31, 3}}),
      flip_row("both", {0, 1}, {{3, 5}, {17, 1}}),
      gather_row("leading", 0, {{{.shape = {4, 3}}, indices(7, 4)}, {{.shape = {17, 31}}, indices(1, 17)}}),
      gather_row("inner", 1, {{{.shape = {3, 4, 2}}, indices(3, 4)}, {{.shape = {3, 31}}, indices(17, 31)}}),
      scatter_add_row(),
  };
  // A step's pictures and activations of cifar-cnn, where the variant takes four axes.
  for (OpCase& c : cases)
    if (c.inputs[0][0].shape.rank() == 4 && c.inputs[0].size() == 1)
      c.bench = {{.shape = c.op == "permute" ? Shape{128, 32, 32, 32} : Shape{128, 32, 32, 3}}};
  return cases;
}

}  // namespace tern::testing
