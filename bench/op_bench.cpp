#include "bench/op_bench.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/recorder.h"
#include "core/rng.h"

namespace tern::bench {
namespace {

using namespace tern::testing;

/// The largest difference as a share of the largest value; infinite where only one of the two is a number.
double error_of(const Array& got, const Array& want) {
  if (got.shape != want.shape) return std::numeric_limits<double>::infinity();
  double largest = 1e-3, worst = 0;
  for (int64_t i = 0; i < want.shape.numel(); ++i) {
    const double difference = std::abs(got[i] - want[i]);
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
    largest = std::max(largest, std::abs(want[i]));
  }
  return worst / largest;
}

std::optional<std::string> compare(const std::string& what, const std::vector<Array>& got, const std::vector<Array>& want,
                                   double tolerance) {
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

/// Elements spread at random over the output, its first and its last, each by its definition; the others must be numbers.
std::optional<std::string> find_sampled_fault(const Row& timed, Context& context, DType dtype, double tolerance) {
  constexpr uint32_t kSamples = 256;
  const OpCase& row = *timed.op;
  context.set_lane_size(row.bench_lane_size);
  const Tensors inputs = make_inputs(context, row.bench, dtype, 1);
  NoGrad guard(context);
  const Array output = arrays_of(row.run(inputs))[0];
  if (!std::ranges::all_of(output.values, [](double value) { return std::isfinite(value); })) return "output has values that are no numbers";
  const std::vector<Array> values = arrays_of(inputs);
  const int64_t count = output.shape.numel();
  Array got{{kSamples}, {}}, want = got;
  for (uint32_t i = 0; i < kSamples; ++i) {
    const Random4 r = random4({2, 0, 0, 99}, i);
    const int64_t at = i == 0 ? 0 : i == 1 ? count - 1 : static_cast<int64_t>(static_cast<double>(r.v[0]) * 0x1p-32 * static_cast<double>(count));
    got.values.push_back(output[at]);
    want.values.push_back(timed.element(values, at));
  }
  return compare("output", {got}, {want}, tolerance);
}

/// Adds up the traffic of ops as they run.
class TrafficMeter final : public Recorder {
 public:
  explicit TrafficMeter(Context& context) : context_(context) { context.set_recorder(this); }
  ~TrafficMeter() { context_.set_recorder(nullptr); }
  TrafficMeter(const TrafficMeter&) = delete;
  TrafficMeter& operator=(const TrafficMeter&) = delete;

  void record(const Event& event) override {
    const auto is_view = [](const std::optional<Alias>& alias) { return alias && !alias->writes; };
    if (std::ranges::all_of(event.aliases, is_view)) return;  // nothing ran
    for (size_t i = 0; i < event.inputs.size(); ++i) {
      const auto again = [&](const Tensor& other) { return other.same_as(event.inputs[i]); };
      if (std::ranges::none_of(event.inputs.first(i), again)) traffic_.read += static_cast<double>(event.inputs[i].bytes());
    }
    for (size_t i = 0; i < event.outputs.size(); ++i)
      if (!is_view(event.aliases[i])) traffic_.written += static_cast<double>(event.outputs[i].bytes());
  }
  void record_phase(std::string_view) override {}
  const Traffic& traffic() const { return traffic_; }

 private:
  Context& context_;
  Traffic traffic_;
};

/// The tensor's rows over and over, `times` as many.
Tensor repeated(const Tensor& tensor, int64_t times) {
  std::vector<std::byte> once(tensor.bytes()), all(once.size() * static_cast<size_t>(times));
  tensor.read_bytes(once.data());
  for (size_t at = 0; at < all.size(); at += once.size()) std::ranges::copy(once, all.begin() + static_cast<std::ptrdiff_t>(at));
  Tensor result = Tensor::empty(tensor.context(), tensor.shape().with(0, tensor.size(0) * times), tensor.dtype());
  result.write_bytes(all.data());
  if (tensor.requires_grad()) result.set_requires_grad();
  return result;
}

/// Inputs of the row with a longer batch axis, so that the largest has `bytes`; or `inputs` where the row's shapes are fixed.
Tensors enlarged(const OpCase& row, const std::function<Tensors(std::span<const Tensor>)>& call, const Tensors& inputs, double bytes) {
  if (row.bench_flops > 0 || inputs[0].rank() == 0 || inputs[0].size(0) == 1) return inputs;
  size_t largest = 1;
  for (const Tensor& input : inputs) largest = std::max(largest, input.bytes());
  const auto times = static_cast<int64_t>(std::ceil(bytes / static_cast<double>(largest)));
  if (times <= 1) return inputs;
  Tensors longer;
  for (const Tensor& input : inputs)
    longer.push_back(input.rank() > 0 && input.size(0) == inputs[0].size(0) ? repeated(input, times) : input);
  try {
    NoGrad guard(inputs[0].context());
    call(longer);
  } catch (const ShapeError&) {
    return inputs;
  }
  return longer;
}

}  // namespace

std::optional<std::string> find_fault(const Row& timed, const Context::Options& options, DType dtype) {
  const OpCase& row = *timed.op;
  const double rounding = dtype == DType::f16 ? 4e-3 : dtype == DType::bf16 ? 3.2e-2 : options.tf32 ? 2e-3 : row.f32_tolerance;
  Context context(options);
  if (timed.element) return find_sampled_fault(timed, context, dtype, rounding);
  context.set_lane_size(row.lane_size);
  const Tensors inputs = make_inputs(context, row.inputs[0], dtype, 1);
  {
    NoGrad guard(context);
    const auto want = row.reference(arrays_of(inputs));
    if (auto fault = compare("output", arrays_of(row.run(inputs)), want, rounding)) return fault;
  }
  if (!row.gradient || dtype != DType::f32) return std::nullopt;
  Context::Options on_cpu;
  on_cpu.threads = options.threads;
  Context exact_context(on_cpu);
  exact_context.set_lane_size(row.lane_size);
  const Tensors exact = make_inputs(exact_context, row.inputs[0], DType::f64, 1);
  const std::vector<Array> values = arrays_of(inputs);
  for (size_t i = 0; i < exact.size(); ++i)
    for (int64_t k = 0; k < exact[i].numel(); ++k) set_value(exact[i], k, values[i][k]);
  return compare("gradient", arrays_of(gradients(row, inputs)), arrays_of(gradients(row, exact)), 10 * std::max(rounding, 1e-5));
}

Tensors OpBench::record(Context& context, const CompiledStep::Function& step) {
  {
    TrafficMeter meter(context);
    step({});
    traffic_ = meter.traffic();
  }
  step_.emplace(context, step);
  return (*step_)(std::span<const Tensor>{});
}

OpBench::OpBench(Context& context, const OpCase& row, Pass pass, const Setup& setup) {
  context.set_lane_size(row.bench.empty() ? row.lane_size : row.bench_lane_size);
  const auto& call = row.bench_run ? row.bench_run : row.run;
  inputs_ = make_inputs(context, row.bench.empty() ? row.inputs[0] : row.bench, setup.dtype, 1);
  inputs_ = enlarged(row, call, inputs_, setup.at_least_bytes);
  Tensors results;
  if (pass == Pass::forward) {
    results = record(context, [this, &context, &call](std::span<const Tensor>) {
      NoGrad guard(context);
      return call(inputs_);
    });
    for (const Tensor& input : inputs_) bytes_ += static_cast<double>(input.bytes());
    flops_ = row.bench_flops;
  } else {
    seeded_ = seed_outputs(call(inputs_), 5);
    leaves_ = leaves_of(inputs_);
    results = record(context, [this](std::span<const Tensor>) {
      return grad(seeded_.outputs, leaves_, seeded_.seeds, {.retain_graph = true});
    });
    for (const Tensor& seed : seeded_.seeds) bytes_ += static_cast<double>(seed.bytes());
    // A product's gradient is one product for each of its two factors; a bias costs none.
    flops_ = row.bench_flops * static_cast<double>(std::ranges::count_if(leaves_, [](const Tensor& leaf) { return leaf.rank() > 1; }));
  }
  for (const Tensor& result : results) {
    items_ += static_cast<double>(result.numel());
    bytes_ += static_cast<double>(result.bytes());
  }
}

}  // namespace tern::bench
