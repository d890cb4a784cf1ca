#include "bench/op_bench.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"

namespace tern::bench {
namespace {

using namespace tern::testing;

Context::Options with_threads(int threads) {
  Context::Options options;
  options.threads = threads;
  return options;
}

/// The largest difference as a share of the largest value; infinite where only one of the two is a number.
double error_of(const Tensor& got, const Array& want) {
  if (got.shape() != want.shape) return std::numeric_limits<double>::infinity();
  double largest = 1e-3, worst = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double difference = std::abs(value_at(got, i) - want[i]);
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
    largest = std::max(largest, std::abs(want[i]));
  }
  return worst / largest;
}

std::optional<std::string> compare(const std::string& what, const Tensors& got, const std::vector<Array>& want, double tolerance) {
  if (got.size() != want.size()) return what + ": " + std::to_string(got.size()) + " results, wanted " + std::to_string(want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = error_of(got[i], want[i]);
    if (error > tolerance)
      return what + " " + std::to_string(i) + " is off by " + std::to_string(error) + " of its largest value, allowed " +
             std::to_string(tolerance);
  }
  return std::nullopt;
}

Tensors gradients(const OpCase& row, const Tensors& inputs) {
  const Seeded seeded = seed_outputs(row.run(inputs), 5);
  return grad(seeded.outputs, leaves_of(inputs), seeded.seeds);
}

}  // namespace

std::optional<std::string> find_fault(const OpCase& row, int threads) {
  Context context(with_threads(threads));
  context.set_lane_size(row.lane_size);
  const Tensors inputs = make_inputs(context, row.inputs[0], DType::f32, 1);
  {
    NoGrad guard(context);
    if (auto fault = compare("output", row.run(inputs), row.reference(arrays_of(inputs)), row.f32_tolerance)) return fault;
  }
  if (!row.gradient) return std::nullopt;
  Tensors exact = make_inputs(context, row.inputs[0], DType::f64, 1);
  for (size_t i = 0; i < inputs.size(); ++i)
    for (int64_t k = 0; k < inputs[i].numel(); ++k) set_value(exact[i], k, value_at(inputs[i], k));
  return compare("gradient", gradients(row, inputs), arrays_of(gradients(row, exact)), 10 * std::max(row.f32_tolerance, 1e-5));
}

OpBench::OpBench(Context& context, const OpCase& row, Pass pass) {
  context.set_lane_size(row.bench.empty() ? row.lane_size : row.bench_lane_size);
  inputs_ = make_inputs(context, row.bench.empty() ? row.inputs[0] : row.bench, DType::f32, 1);
  const auto& call = row.bench_run ? row.bench_run : row.run;
  Tensors results;
  if (pass == Pass::forward) {
    step_.emplace(context, [this, &context, &call](std::span<const Tensor>) {
      NoGrad guard(context);
      return call(inputs_);
    });
    results = (*step_)(std::span<const Tensor>{});
    for (const Tensor& input : inputs_) bytes_ += static_cast<double>(input.bytes());
    flops_ = row.bench_flops;
  } else {
    seeded_ = seed_outputs(call(inputs_), 5);
    leaves_ = leaves_of(inputs_);
    step_.emplace(context, [this](std::span<const Tensor>) {
      return grad(seeded_.outputs, leaves_, seeded_.seeds, {.retain_graph = true});
    });
    results = (*step_)(std::span<const Tensor>{});
    for (const Tensor& seed : seeded_.seeds) bytes_ += static_cast<double>(seed.bytes());
    flops_ = row.bench_flops * static_cast<double>(leaves_.size());  // a product's gradient is one product an input
  }
  for (const Tensor& result : results) {
    items_ += static_cast<double>(result.numel());
    bytes_ += static_cast<double>(result.bytes());
  }
}

}  // namespace tern::bench
