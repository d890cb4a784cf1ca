// Reductions and row ops on a GPU against the CPU, with extents that reach every path of kernels/common/reduce.cuh and
// held_row.cuh: several tasks, lanes, ragged last lanes, packs and their ends, whole blocks, memory that is not
// aligned.
#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "kernels/ops.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"
#include "tests/op_tensors.h"

namespace tern::testing {
namespace {

using Run = std::function<Tensors(const Tensors&)>;

using test::no_gpu;

std::vector<Array> run_on(Device::Kind kind, const std::vector<Input>& inputs, DType dtype, int64_t lane_size,
                          const Run& run) {
  Context context(test::on(kind));
  context.set_lane_size(lane_size);
  return arrays_of(run(make_inputs(context, inputs, dtype, 3)));
}

/// All results within `tolerance` of the largest of each, NaN where the CPU has NaN.
void check(const char* what, const std::vector<Input>& inputs, const Run& run, double tolerance = 1e-5,
           DType dtype = DType::f32, int64_t lane_size = 0) {
  INFO(what << " of " << name_of(dtype) << " " << inputs[0].shape.str() << ", lanes of " << lane_size);
  const auto got = run_on(Device::Kind::cuda, inputs, dtype, lane_size, run);
  const auto want = run_on(Device::Kind::cpu, inputs, dtype, lane_size, run);
  REQUIRE(got.size() == want.size());
  for (size_t k = 0; k < got.size(); ++k) {
    REQUIRE(got[k].shape == want[k].shape);
    double largest = 1e-3;
    size_t wrong = 0;
    for (double v : want[k].values)
      if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < want[k].values.size(); ++i) {
      const double a = got[k].values[i], b = want[k].values[i];
      const bool same = a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tolerance * largest;
      if (!same && wrong++ == 0) CHECK((i == 0 && a == b));  // shows the first
      if (!same) UNSCOPED_INFO("result " << k << "[" << i << "] is " << a << ", wants " << b);
    }
    CHECK(wrong == 0);
  }
}

const std::vector<Shape> kShapes = {{100003},     {3, 9001},   {5, 8200},      {700, 10}, {5000, 64}, {70, 33},
                                    {9, 700, 16}, {6, 40, 50}, {3, 4, 600, 8}, {1, 1},    {2, 70000}};

Run reduce_with(Tensor (*f)(const Tensor&, const Reduction&), std::vector<int> axes) {
  return [=](const Tensors& in) { return Tensors{f(in[0], {.axes = axes})}; };
}

}  // namespace

TEST_CASE("cuda: reductions of every regime agree with the CPU", "[cuda][reduce]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  for (const Shape& shape : kShapes) {
    const std::vector<Input> x = {{.shape = shape, .low = 0, .high = 2}};
    std::vector<std::vector<int>> ways = {{}, {0}, {-1}};
    if (shape.rank() > 2) ways.insert(ways.end(), {{0, 2}, {1}, {0, 1}});
    for (const auto& axes : ways) {
      check("sum", x, reduce_with(sum, axes));
      check("max", x, reduce_with(max, axes), 0);
      check("var", x, [&](const Tensors& in) { return Tensors{var(in[0], {.axes = axes})}; });
      check("mean", x, reduce_with(mean, axes), 4e-3, DType::f16);
    }
  }
}

TEST_CASE("cuda: reductions of integers are exact", "[cuda][reduce]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : {DType::u8, DType::i32, DType::i64})
    for (const Shape& shape : {Shape{40, 300}, Shape{3, 5000}, Shape{5000}}) {
      const std::vector<Input> x = {{.shape = shape, .low = 0, .high = 200, .floating = false, .fixed = dtype}};
      for (int axis : {0, -1}) {
        check("sum", x, reduce_with(sum, {axis}), 0, dtype);
        check("min", x, reduce_with(min, {axis}), 0, dtype);
        check(
            "argmax", x, [=](const Tensors& in) { return Tensors{argmax(in[0], {.axis = axis})}; }, 0, dtype);
      }
    }
}

TEST_CASE("cuda: lanes are summed alone, the last one shorter", "[cuda][reduce][lanes]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  for (const Shape& shape : {Shape{7, 50, 64}, Shape{70, 3, 33}, Shape{9, 2000, 5}, Shape{41, 1, 1}, Shape{5, 37, 4}})
    for (int64_t lane_size : {1, 2, 4}) {
      const std::vector<Input> x = {{.shape = shape, .low = 0, .high = 1}};
      const auto to = [&](const Shape& out) {
        return [&, out](const Tensors& in) { return Tensors{sum_to(in[0], out, lane_size)}; };
      };
      check("sum_to a scalar", x, to({1}), 1e-5, DType::f32, lane_size);
      check("sum_to columns", x, to({shape[2]}), 1e-5, DType::f32, lane_size);
      check("sum_to the middle", x, to({shape[1], 1}), 1e-5, DType::f32, lane_size);
      check(
          "bias_grad", x, [](const Tensors& in) { return Tensors{bias_grad(in[0])}; }, 4e-3, DType::f16, lane_size);
    }
}

TEST_CASE("cuda: where memory begins changes no bit of a sum", "[cuda][reduce]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  Context context(test::on(Device::Kind::cuda));
  std::vector<float> values(4096 * 8 + 1);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const auto sums = [&](int64_t offset) {
    std::vector<float> moved(values.size());
    std::copy(values.begin(), values.end() - 1, moved.begin() + offset);
    const Tensor all = Tensor::from(context, {static_cast<int64_t>(moved.size())}, moved);
    const Tensor x = reshape(slice(all, 0, offset, offset + 4096 * 8), {4096, 8});
    return arrays_of(Tensors{sum(x), sum(x, {.axes = {0}}), softmax(x, -1)});
  };
  const auto aligned = sums(0), shifted = sums(1);
  for (size_t k = 0; k < aligned.size(); ++k) CHECK(aligned[k].values == shifted[k].values);
}

TEST_CASE("cuda: softmax, loss and layer norm agree with the CPU at every width", "[cuda][rows]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  for (int64_t classes : {1, 2, 10, 37, 100, 1000, 1111, 9000}) {
    const std::vector<Input> x = {{.shape = {6, classes}, .low = -9, .high = 9}};
    check("softmax", x, [](const Tensors& in) { return Tensors{softmax(in[0], -1)}; });
    check("log_softmax", x, [](const Tensors& in) { return Tensors{log_softmax(in[0], -1), log_softmax(in[0], 0)}; });
    check(
        "argmax", x, [](const Tensors& in) { return Tensors{argmax(in[0], {.axis = -1})}; }, 0);
    std::vector<Input> labelled = x;
    labelled.push_back({.shape = {6}, .low = 0, .high = static_cast<double>(classes), .floating = false});
    check(
        "top_k_correct", labelled, [](const Tensors& in) { return Tensors{top_k_correct(in[0], in[1], 5)}; }, 0);
    for (LossReduction reduction : {LossReduction::none, LossReduction::mean, LossReduction::sum})
      for (double smoothing : {0.0, 0.1}) {
        const auto loss = [=](const Tensors& in) {
          return Tensors{cross_entropy(in[0], in[1], {.label_smoothing = smoothing, .reduction = reduction})};
        };
        check("cross_entropy", labelled, loss, 1e-6, DType::f32, 4);
        check("cross_entropy", labelled, loss, 4e-3, DType::f16, 2);
      }
    const Run norm = [](const Tensors& in) { return Tensors{layer_norm(in[0], in[1], in[2])}; };
    if (classes > 1) check("layer_norm", {x[0], {.shape = {classes}}, {.shape = {classes}}}, norm);
  }
}

TEST_CASE("cuda: a loss of nearly nothing keeps its digits, a label that is no class gives NaN", "[cuda][rows]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  Context context(test::on(Device::Kind::cuda));
  const Tensor logits = Tensor::from<float>(context, {3, 3}, {0, 20, 0, 1, 2, 3, 1, 2, 3});
  const Tensor labels = Tensor::from<int64_t>(context, {3}, {1, 3, 0});
  const Array loss = arrays_of(Tensors{cross_entropy(logits, labels, {.reduction = LossReduction::none})})[0];
  CHECK(loss[0] == Approx(std::log1p(2 * std::exp(-20.0))).epsilon(1e-5));
  CHECK(std::isnan(loss[1]));
  CHECK(loss[2] == Approx(std::log(1 + std::exp(1.0) + std::exp(2.0))));
}

TEST_CASE("cuda: norm, found_inf and clipping stay on the device", "[cuda][reduce]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  const float infinity = std::numeric_limits<float>::infinity();
  for (float odd : {0.0f, 1e30f, infinity, std::nanf("")})
    for (int64_t count : {1, 5, 4096, 100001}) {
      std::vector<Array> results[2];
      for (Device::Kind kind : {Device::Kind::cpu, Device::Kind::cuda}) {
        Context context(test::on(kind));
        std::vector<float> values(static_cast<size_t>(count));
        for (size_t i = 0; i < values.size(); ++i) values[i] = std::cos(static_cast<float>(i));
        values.back() = odd;
        const Tensor x = Tensor::from(context, {count}, values);
        const GlobalNorm norm = global_norm(x);
        const Tensor clip = clip_coefficient(norm.norm, Tensor::from<float>(context, {1}, {0.5f}), {.max_norm = 2});
        results[kind == Device::Kind::cuda] =
            arrays_of(Tensors{norm.norm, norm.found_inf, clip, has_nonfinite(x), has_nonfinite(slice(x, 0, 0, 1))});
      }
      for (size_t k = 0; k < results[0].size(); ++k) {
        INFO(count << " elements, the last " << odd << ", result " << k);
        const double want = results[0][k][0], got = results[1][k][0];
        CHECK((want == got || (std::isnan(want) && std::isnan(got)) || std::abs(got - want) <= 1e-6 * std::abs(want)));
      }
    }
}

TEST_CASE("cuda: NaN goes through max, and is where argmax points", "[cuda][reduce]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  for (int64_t count : {7, 3000, 20001}) {
    std::vector<float> values(static_cast<size_t>(count), -1.0f);
    values[static_cast<size_t>(count / 2)] = values.back() = std::nanf("");
    Context context(test::on(Device::Kind::cuda));
    const Tensor x = Tensor::from(context, {count}, values);
    const auto results = arrays_of(Tensors{max(x), argmax(x, {.axis = 0}), sum(x)});
    CHECK(std::isnan(results[0][0]));
    CHECK(results[1][0] == static_cast<double>(count / 2));
    CHECK(std::isnan(results[2][0]));
  }
}

}  // namespace tern::testing
