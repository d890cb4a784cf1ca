// Every row of op_cases.h on a GPU against the CPU, forward and gradients; and plans there, captured as CUDA graphs.
// Without a GPU the cases are skipped; the emulation (tests/cuda_emulation) runs them on its device.
#include <cmath>
#include <cstring>

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

void check_against_cpu(const OpCase& c, DType dtype, double tolerance) {
  for (const auto& set : c.inputs) {
    INFO(name_of(dtype) << ", input 0 is " << set[0].shape.str());
    const auto got = run_on(Device::Kind::cuda, c, set, dtype), want = run_on(Device::Kind::cpu, c, set, dtype);
    REQUIRE(got.size() == want.size());
    for (size_t k = 0; k < got.size(); ++k) {
      INFO("result " << k);
      REQUIRE(got[k].shape == want[k].shape);
      CHECK(difference(got[k], want[k]) <= tolerance);
    }
  }
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
      check_against_cpu(c, DType::f32, std::max(1e-5, c.f32_tolerance));
      if (c.f64) check_against_cpu(c, DType::f64, 1e-11);
      // Sums of rounded products in another order: a few units of the type's precision, on either side.
      if (c.half) check_against_cpu(c, DType::f16, 4e-3);
      if (c.half) check_against_cpu(c, DType::bf16, 3.2e-2);
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
