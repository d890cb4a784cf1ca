// Fused elementwise chains on the CPU: bits, what is merged and what is not.
#include "core/basic_ops.h"
#include "core/fusion.h"
#include "core/recorder.h"
#include "kernels/elementwise_chain/elementwise_chain.h"
#include "tests/random_chain.h"
#include "tools/model.h"

namespace tern::testing {
namespace {

/// Instructions of a plan, and ops that went into others. Replays it once more, against eager.
PlanStats planned(Context& context, const CompiledStep::Function& function, const Tensors& inputs, CompileOptions options = {}) {
  CompiledStep step = compile(context, function, options);
  step(inputs);
  const Tensors replayed = step(inputs), wanted = function(inputs);
  REQUIRE(replayed.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) CHECK(relative_difference(replayed[i], wanted[i]) == 0);
  return step.stats()[0];
}

/// The ops of a function.
class Listener final : public Recorder {
 public:
  void record(const Event& event) override { ops.push_back(event.op); }
  void record_phase(std::string_view) override {}
  std::vector<std::shared_ptr<const Op>> ops;
};

}  // namespace

TEST_CASE("elementwise_chain: random chains give the bits of their ops, on any number of threads", "[fusion]") {
  for (int threads : {1, 3}) check_random_chains({.threads = threads, .poison = true}, 0, 120);
}

TEST_CASE("elementwise_chain: the decomposition is the ops that were merged", "[fusion]") {
  for (const bool fusion : {true, false}) {
    Context context({.fusion = fusion});
    NoGrad guard(context);
    const Tensors in = make_inputs(context, {{.shape = {3, 17}}, {.shape = {17}}}, DType::f16, 1);
    Listener listener;
    context.set_recorder(&listener);
    const Tensor wanted = relu(mul(add(in[0], in[1]), -1.5));
    context.set_recorder(nullptr);
    const Spec spec = in[0].spec();
    const auto& ops = listener.ops;
    const auto two = fuse_elementwise({ops[0], ops[1], {spec, in[1].spec()}, {0, 1}, {FusionPair::kFirst}, spec, spec});
    REQUIRE(two);
    const auto three = fuse_elementwise({two, ops[2], {spec, in[1].spec()}, {0, 1}, {FusionPair::kFirst}, spec, spec});
    REQUIRE(three);
    context.set_recorder(&listener);
    const Tensor got = tern::apply(three, in)[0];
    context.set_recorder(nullptr);
    CHECK(relative_difference(got, wanted) == 0);
    CHECK(ops.size() == (fusion ? 4u : 6u));
    CHECK(ops.back()->name() == (fusion ? "elementwise_chain" : "relu"));
  }
}

TEST_CASE("elementwise_chain: what is merged and what stays apart", "[fusion]") {
  Context context({.threads = 2, .poison = true});
  NoGrad guard(context);
  const Tensors in = make_inputs(context, {{.shape = {4, 17}}, {.shape = {4, 17}}, {.shape = {4, 1}}, {.shape = {1, 17}}}, DType::f32, 3);
  const auto instructions = [&](const std::function<Tensor(std::span<const Tensor>)>& f) {
    return planned(context, [&](std::span<const Tensor> x) { return std::vector{f(x)}; }, in).instructions;
  };
  using In = std::span<const Tensor>;
  CHECK(instructions([](In x) { return relu(add(x[0], x[1])); }) == 1);
  CHECK(instructions([](In x) { return relu(accumulate(x[0], x[1])); }) == 1);
  CHECK(instructions([](In x) { return accumulate(x[0], relu(x[1])); }) == 1);
  CHECK(instructions([](In x) { return mul(sigmoid(x[0]), x[0]); }) == 1);
  CHECK(instructions([](In x) { return relu(add(x[3], x[0])); }) == 1);
  // The sum is read twice, once by an op further on.
  CHECK(instructions([](In x) { const Tensor s = add(x[0], x[1]); return mul(relu(s), s); }) == 2);
  // A column does not repeat along the rows; a reshaped result is not what was computed; a sum is not elementwise.
  CHECK(instructions([](In x) { return relu(add(x[0], x[2])); }) == 2);
  CHECK(instructions([](In x) { return relu(add(x[2], x[3])); }) == 2);
  CHECK(instructions([](In x) { return relu(reshape(add(x[0], x[1]), {17, 4})); }) == 2);
  CHECK(instructions([](In x) { return sum(add(x[0], x[1])); }) == 2);
  CHECK(instructions([](In x) { return relu(cast(cast(x[0], DType::i32), DType::f32)); }) == 3);
  // Nine ops, of which a chain holds eight.
  CHECK(instructions([](In x) { Tensor y = x[0]; for (int i = 0; i < 9; ++i) y = mul(y, 0.5 + i); return y; }) == 2);
  const auto both = [](In x) { const Tensor s = add(x[0], x[1]); return std::vector{s, relu(s)}; };
  CHECK(planned(context, both, in).instructions == 2);
  const auto phases = [&](In x) {
    const Tensor s = add(x[0], x[1]);
    context.enter_phase("backward");
    return std::vector{relu(s)};
  };
  CHECK(planned(context, phases, in).instructions == 2);
  Context apart({.threads = 2, .fusion = false});
  NoGrad no_grad(apart);
  const Tensors same = make_inputs(apart, {{.shape = {4, 17}}}, DType::f32, 3);
  CHECK(planned(apart, [](In x) { return std::vector{relu(add(x[0], x[0]))}; }, same).fused == 0);
}

TEST_CASE("elementwise_chain: integers and tensors that are written in place stay as they are", "[fusion]") {
  Context context({.poison = true});
  NoGrad guard(context);
  const Tensor total = Tensor::zeros(context, {5});
  CompiledStep step = compile(context, [&](std::span<const Tensor> in) {
    const Tensor twice = mul(in[0], 2.0);
    accumulate_into(total, twice);
    const Tensor count = add(add(in[1], in[1]), in[1]);
    return std::vector{mul(twice, total), count};
  });
  for (int round = 1; round <= 3; ++round) {
    const Tensors out = step({Tensor::full(context, {5}, 1), Tensor::full(context, {5}, 7, DType::i64)});
    CHECK(out[0].to_vector<float>() == std::vector<float>(5, static_cast<float>(4 * round)));
    CHECK(out[1].to_vector<int64_t>() == std::vector<int64_t>(5, 21));
  }
  CHECK(step.stats()[0].fused == 0);
}

TEST_CASE("elementwise_chain: resnet18's residual sums, forward and backward, are merged", "[fusion]") {
  Context context({.threads = 2, .poison = true});
  ModelConfig model;
  model.name = ModelName::resnet18;
  const auto network = build_model(context, model, {8, 8, 3}, 10, 1);
  std::vector<Tensor> parameters;
  for (const auto& parameter : network->parameters()) parameters.push_back(*parameter.tensor);
  const Tensors in = make_inputs(context, {{.shape = {2, 8, 8, 3}, .differentiable = false},
                                           {.shape = {2}, .low = 0, .high = 10, .floating = false}}, DType::f32, 1);
  const auto training = [&](std::span<const Tensor> x) {
    return grad(std::vector{cross_entropy((*network)(x[0]), x[1])}, parameters);
  };
  // Eight sums before a ReLU; seven gradients that come from two branches and then pass the mask of a ReLU.
  CHECK(planned(context, training, in).fused == 15);
  network->train(false);
  NoGrad guard(context);
  CHECK(planned(context, [&](std::span<const Tensor> x) { return std::vector{(*network)(x[0])}; }, in).fused == 8);
}

}  // namespace tern::testing
