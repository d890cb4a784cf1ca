// Every row of op_cases.h on a GPU against the CPU, forward and gradients; and plans there, captured as CUDA graphs.
// Without a GPU the cases are skipped; the emulation (tests/cuda_emulation) runs them on its device.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <random>

#include "core/error.h"
#include "core/plan.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"
#include "tests/op_tensors.h"

namespace tern::testing {
namespace {

using test::no_gpu;

std::vector<Array> run_on(Device::Kind kind, const OpCase& c, const std::vector<Input>& set, DType dtype) {
  Context context(test::on(kind));
  context.set_lane_size(c.lane_size);
  return arrays_of(run_with_gradients(c, make_inputs(context, set, dtype, 1)));
}

/// Largest difference over the largest finite number of `want`; infinite where one is NaN and the other is not.
double difference(const Array& got, const Array& want) {
  double largest = 1e-3, worst = 0;
  for (double v : want.values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < want.values.size(); ++i) {
    const double a = got.values[i], b = want.values[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double error = std::abs(a - b);
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst / largest;
}

void check_against_cpu(const OpCase& c, const std::vector<Input>& set, DType dtype, double tolerance) {
  std::string shapes;
  for (const Input& input : set) shapes += " " + input.shape.str();
  INFO(name_of(dtype) << ", inputs" << shapes);
  const auto got = run_on(Device::Kind::cuda, c, set, dtype), want = run_on(Device::Kind::cpu, c, set, dtype);
  REQUIRE(got.size() == want.size());
  for (size_t k = 0; k < got.size(); ++k) {
    INFO("result " << k);
    REQUIRE(got[k].shape == want[k].shape);
    CHECK(difference(got[k], want[k]) <= tolerance);
  }
}

void check_floats_against_cpu(const OpCase& c, const std::vector<Input>& set) {
  check_against_cpu(c, set, DType::f32, std::max(1e-5, c.f32_tolerance));
  // Sums of rounded products in another order: a few units of the type's precision, on either side.
  if (c.half) check_against_cpu(c, set, DType::f16, 4e-3);
  if (c.half) check_against_cpu(c, set, DType::bf16, 3.2e-2);
}

constexpr int kRandomSets = 2;  // of a row

uint64_t random_seed() {
  const char* seed = std::getenv("TERN_TEST_SEED");
  return seed ? std::strtoull(seed, nullptr, 10) : 1;
}

/// One of a row's sets with other extents. An extent becomes the same other one wherever it stands, so that shapes that
/// fitted each other still do; labels and indices that run to an extent go along. About half of the extents change.
std::vector<Input> with_other_extents(const OpCase& c, std::mt19937_64& random) {
  std::vector<Input> set = c.inputs[random() % c.inputs.size()];
  std::map<int64_t, int64_t> changed{{1, 1}};
  for (Input& input : set) {
    for (int axis = 0; axis < input.shape.rank(); ++axis) {
      const int64_t extent = input.shape[axis];
      const bool changes = random() % 2 == 0;
      const auto other = static_cast<int64_t>(1 + random() % static_cast<uint64_t>(extent + 8));
      input.shape = input.shape.with(axis, changed.try_emplace(extent, changes ? other : extent).first->second);
    }
    const auto bound = changed.find(static_cast<int64_t>(input.high));
    if (!input.floating && !is_floating(input.fixed) && bound != changed.end()) input.high = static_cast<double>(bound->second);
  }
  return set;
}

bool has_extents(const OpCase& c) {
  for (const auto& set : c.inputs)
    for (const Input& input : set)
      if (input.shape.numel() > 1) return true;
  return false;
}

/// The same, until the op takes it. What the CPU refuses by name is no valid set: groups that do not divide, a picture
/// smaller than its filter.
std::optional<std::vector<Input>> random_set(const OpCase& c, std::mt19937_64& random) {
  for (int attempt = 0; attempt < 2000; ++attempt) {
    const std::vector<Input> set = with_other_extents(c, random);
    bool other = true;
    for (const auto& listed : c.inputs)
      other = other && !std::ranges::equal(set, listed, {}, &Input::shape, &Input::shape);
    if (!other) continue;
    try {
      run_on(Device::Kind::cpu, c, set, DType::f32);
      return set;
    } catch (const Error&) {
    }
  }
  return std::nullopt;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  tensor.read_bytes(bytes.data());
  return bytes;
}

}  // namespace

TEST_CASE("cuda: every op agrees with the CPU, forward and backward", "[cuda][ops]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  for (const OpCase& c : op_cases()) {
    DYNAMIC_SECTION(name_of(c)) {
      for (const auto& set : c.inputs) {
        check_floats_against_cpu(c, set);
        if (c.f64) check_against_cpu(c, set, DType::f64, 1e-11);
      }
    }
  }
}

TEST_CASE("cuda: every op agrees with the CPU on random shapes", "[cuda][ops]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  const uint64_t seed = random_seed();
  for (size_t row = 0; row < op_cases().size(); ++row) {
    const OpCase& c = op_cases()[row];
    if (c.fixed_shapes || !has_extents(c)) continue;
    DYNAMIC_SECTION(name_of(c)) {
      INFO("TERN_TEST_SEED=" << seed);
      std::mt19937_64 random(seed * 1000003 + row);
      for (int i = 0; i < kRandomSets; ++i) {
        const auto set = random_set(c, random);
        REQUIRE(set);
        check_floats_against_cpu(c, *set);
      }
    }
  }
}

TEST_CASE("cuda: a plan replayed as a graph gives the eager bits", "[cuda][ops][plan]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  for (const OpCase& c : op_cases()) {
    DYNAMIC_SECTION(name_of(c)) {
      for (DType dtype : {DType::f32, DType::f16}) {
        if (dtype == DType::f16 && !c.half) continue;
        Context context(test::on(Device::Kind::cuda));
        context.set_lane_size(c.lane_size);
        const Tensors first = make_inputs(context, c.inputs[0], dtype, 10);
        const Tensors seeds = c.gradient ? seed_outputs(c.run(first), 5).seeds : Tensors{};
        CompiledStep step = compile(context, [&](std::span<const Tensor> in) { return run_with_gradients(c, in, seeds); });
        for (uint64_t round = 0; round < 3; ++round) {
          const Tensors inputs = make_inputs(context, c.inputs[0], dtype, 10 + round);
          const Tensors eager = run_with_gradients(c, inputs, seeds);
          const Tensors replayed = step(inputs);
          REQUIRE(eager.size() == replayed.size());
          for (size_t k = 0; k < eager.size(); ++k) {
            INFO(name_of(dtype) << ", round " << round << ", result " << k);
            CHECK(bytes_of(eager[k]) == bytes_of(replayed[k]));
          }
        }
        if (step.stats()[0].instructions > 0) CHECK(step.stats()[0].graph_nodes > 0);  // a view has none
      }
    }
  }
}

}  // namespace tern::testing
