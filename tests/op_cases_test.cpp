// Drives every row of op_cases.h through the checks that an op owes.
#include <cmath>
#include <cstring>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/plan.h"
#include "tests/catch.h"
#include "tests/op_tensors.h"

namespace tern::testing {
namespace {

Context::Options options_for(int threads, bool fusion = true) {
  Context::Options options;
  options.threads = threads;
  options.fusion = fusion;
  options.poison = true;
  return options;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.spec() == b.spec() && (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

void check_close(const Tensor& got, const Array& want, double tolerance) {
  REQUIRE(got.shape() == want.shape);
  double largest = 0, worst = 0;
  for (double v : want.values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double y = value_at(got, i);
    if (std::isfinite(want[i])) {
      const double error = std::abs(y - want[i]);
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    } else {
      CHECK((std::isnan(want[i]) ? std::isnan(y) : y == want[i]));
    }
  }
  CHECK(worst <= tolerance * std::max(largest, 1e-3));
}

void check_forward(const OpCase& c, DType dtype, double tolerance) {
  for (const auto& set : c.inputs) {
    Context context(options_for(2));
    context.set_lane_size(c.lane_size);
    NoGrad guard(context);
    const Tensors inputs = make_inputs(context, set, dtype, 1);
    INFO("input 0 is " << inputs[0].spec().str());
    const Tensors outputs = c.run(inputs);
    const std::vector<Array> wanted = c.reference(arrays_of(inputs));
    REQUIRE(outputs.size() == wanted.size());
    for (size_t k = 0; k < outputs.size(); ++k)
      check_close(outputs[k], wanted[k], is_floating(outputs[k].dtype()) ? tolerance : 0);
  }
}

/// Central differences of `function` by the elements of `leaf` (at most `count` of them) against `analytic`.
template <class F>
void check_gradient(const Tensor& leaf, const Tensor& analytic, const F& function, int64_t count = 48) {
  const double h = 4e-6;
  const int64_t stride = std::max<int64_t>(1, leaf.numel() / count);
  double error = 0, size = 0;
  for (int64_t i = 0; i < leaf.numel(); i += stride) {
    const double x = value_at(leaf, i);
    set_value(leaf, i, x + h);
    const double up = function();
    set_value(leaf, i, x - h);
    const double down = function();
    set_value(leaf, i, x);
    const double numeric = (up - down) / (2 * h);
    error += std::pow(numeric - value_at(analytic, i), 2);
    size += numeric * numeric;
  }
  INFO("relative error " << std::sqrt(error / std::max(size, 1e-300)) << ", size " << std::sqrt(size));
  CHECK(std::sqrt(error) <= 1e-6 * std::max(std::sqrt(size), 1e-2));
}

double dot(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k)
    for (int64_t i = 0; i < a[k].numel(); ++i) sum += value_at(a[k], i) * value_at(b[k], i);
  return sum;
}

}  // namespace

TEST_CASE("every op agrees with its naive reference", "[ops]") {
  for (const OpCase& c : op_cases()) {
    DYNAMIC_SECTION(name_of(c)) {
      if (c.f64) check_forward(c, DType::f64, 1e-11);
      check_forward(c, DType::f32, c.f32_tolerance);
      if (c.half) {
        check_forward(c, DType::f16, 2e-3);
        check_forward(c, DType::bf16, 1.6e-2);
      }
    }
  }
}

TEST_CASE("every op's gradient agrees with central differences in f64", "[ops]") {
  for (const OpCase& c : op_cases()) {
    if (!c.gradient) continue;
    DYNAMIC_SECTION(name_of(c)) {
      for (const auto& set : c.inputs) {
        Context context(options_for(2));
        context.set_lane_size(c.lane_size);
        const Tensors inputs = make_inputs(context, set, DType::f64, 2);
        INFO("input 0 is " << inputs[0].spec().str());
        const Seeded seeded = seed_outputs(c.run(inputs), 5);
        const Tensors leaves = leaves_of(inputs);
        REQUIRE(!leaves.empty());
        const Tensors analytic = grad(seeded.outputs, leaves, seeded.seeds);
        auto function = [&] { return dot(seed_outputs(c.run(inputs), 5).outputs, seeded.seeds); };
        for (size_t k = 0; k < leaves.size(); ++k) {
          INFO("gradient of differentiable input " << k);
          check_gradient(leaves[k], analytic[k], function);
        }
      }
    }
  }
}

TEST_CASE("gradients of gradients agree with central differences in f64", "[ops]") {
  for (const OpCase& c : op_cases()) {
    if (!c.second_gradient) continue;
    DYNAMIC_SECTION(name_of(c)) {
      Context context(options_for(2));
      context.set_lane_size(c.lane_size);
      const Tensors inputs = make_inputs(context, c.inputs[0], DType::f64, 3);
      const Tensors leaves = leaves_of(inputs);
      auto first = [&] {
        const Seeded seeded = seed_outputs(c.run(inputs), 5);
        return grad(seeded.outputs, leaves, seeded.seeds, {.create_graph = true});
      };
      const Seeded seeded = seed_outputs(first(), 7);
      if (seeded.outputs.empty()) continue;  // linear: the gradient does not depend on the inputs
      // first() may give gradients that depend on nothing: keep those that do, in both runs.
      const Tensors analytic = grad(seeded.outputs, leaves, seeded.seeds);
      auto function = [&] { return dot(seed_outputs(first(), 7).outputs, seeded.seeds); };
      for (size_t k = 0; k < leaves.size(); ++k) {
        INFO("input " << k);
        check_gradient(leaves[k], analytic[k], function, 16);
      }
    }
  }
}

TEST_CASE("an op gives the same bits on 1, 2 and 3 threads", "[ops]") {
  for (const OpCase& c : op_cases()) {
    DYNAMIC_SECTION(name_of(c)) {
      for (const auto& set : c.inputs) {
        Context one(options_for(1));
        one.set_lane_size(c.lane_size);
        const Tensors wanted = run_with_gradients(c, make_inputs(one, set, DType::f32, 4));
        for (int threads : {2, 3}) {
          Context many(options_for(threads));
          many.set_lane_size(c.lane_size);
          const Tensors got = run_with_gradients(c, make_inputs(many, set, DType::f32, 4));
          REQUIRE(got.size() == wanted.size());
          for (size_t k = 0; k < got.size(); ++k) {
            INFO(threads << " threads, result " << k);
            CHECK(same_bits(got[k], wanted[k]));
          }
        }
      }
    }
  }
}

TEST_CASE("a replayed plan gives the eager bits, forward and backward", "[ops][plan]") {
  for (const OpCase& c : op_cases()) {
    DYNAMIC_SECTION(name_of(c)) {
      const bool fusion = GENERATE(true, false);
      Context context(options_for(2, fusion));
      context.set_lane_size(c.lane_size);
      const auto& set = c.inputs[0];
      const Tensors first = make_inputs(context, set, DType::f32, 10);
      const Tensors seeds = c.gradient ? seed_outputs(c.run(first), 5).seeds : Tensors{};
      CompiledStep step = compile(context, [&](std::span<const Tensor> in) { return run_with_gradients(c, in, seeds); });
      for (uint64_t round = 0; round < 3; ++round) {
        const Tensors inputs = make_inputs(context, set, DType::f32, 10 + round);
        const Tensors eager = run_with_gradients(c, inputs, seeds);
        const Tensors replayed = step(inputs);
        REQUIRE(eager.size() == replayed.size());
        for (size_t k = 0; k < eager.size(); ++k) {
          INFO("round " << round << ", result " << k);
          CHECK(same_bits(eager[k], replayed[k]));
        }
      }
      CHECK(step.stats().size() == 1);
    }
  }
}

TEST_CASE("NaN passes through every op", "[ops]") {
  for (const OpCase& c : op_cases()) {
    if (!c.nan_passes) continue;
    DYNAMIC_SECTION(name_of(c)) {
      for (DType dtype : {DType::f32, DType::f64}) {
        Context context(options_for(1));
        context.set_lane_size(c.lane_size);
        const Tensors inputs = make_inputs(context, c.inputs[0], dtype, 6);
        set_value(inputs[0], inputs[0].numel() / 2, std::numeric_limits<double>::quiet_NaN());
        const Tensors outputs = c.run(inputs);
        bool seen = false;
        for (int64_t i = 0; i < outputs[0].numel(); ++i) seen |= std::isnan(value_at(outputs[0], i));
        CHECK(seen);
      }
    }
  }
}

TEST_CASE("an empty batch is a ShapeError", "[ops]") {
  for (const OpCase& c : op_cases()) {
    if (!c.empty_batch_throws) continue;
    DYNAMIC_SECTION(name_of(c)) {
      Context context(options_for(1));
      auto set = c.inputs[0];
      if (set[0].shape.rank() == 0) continue;
      set[0].shape = set[0].shape.with(0, 0);
      const Tensors inputs = make_inputs(context, set, DType::f32, 8);
      CHECK_THROWS_AS(c.run(inputs), ShapeError);
    }
  }
}

}  // namespace tern::testing
