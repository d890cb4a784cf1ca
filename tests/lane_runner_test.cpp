// Steps whose lanes are computed node by node end in the bits of steps computed at once.
#include <algorithm>
#include <memory>
#include <random>

#include "core/context.h"
#include "tests/catch.h"
#include "tests/programs.h"
#include "tools/lane_runner.h"
#include "tools/training_step.h"

using namespace tern;

namespace {

constexpr int kMicroBatch = 4, kLanes = 5, kSize = 16;

Config small_config() {
  nlohmann::json config = test::Workbench::config();
  config["train"]["micro_batch"] = kMicroBatch;
  config["train"]["lanes"] = kLanes;
  return parse_config(config.dump(), "test");
}

data::Batch batch_of(int64_t epoch, int64_t step, int64_t pictures) {
  data::Batch batch;
  batch.epoch = epoch;
  batch.step = step;
  batch.micro_batch = kMicroBatch;
  std::mt19937 numbers(static_cast<unsigned>(100 * epoch + step));
  for (int64_t i = 0; i < pictures; ++i) {
    batch.indices.push_back(step * 100 + i);
    batch.labels.push_back((step + i) % 10);
    for (int64_t byte = 0; byte < int64_t{kSize} * kSize * 3; ++byte)
      batch.images.push_back(static_cast<uint8_t>(numbers()));
  }
  return batch;
}

/// Computes each party's share in the nodes of the tree, all of them here.
class Parties : public LaneEngine {
 public:
  Parties(Context& context, int parties, StepSwitches switches) : context_(context), parties_(parties), switches_(switches) {}

  void open(LanePass&, const data::RunData&, const std::filesystem::path&) override {}
  std::optional<LaneResults> run(LanePass& pass, const data::Batch& batch, const Tensor& loss_scale, const Tensor& gradient) override {
    if (!runner_) runner_ = std::make_unique<LaneRunner>(context_, pass, switches_);
    LaneResults results{.epoch = batch.epoch, .step = batch.step, .pictures = batch.size(), .nodes = {}};
    const Lanes lanes{batch.size(), batch.micro_batch};
    std::vector<dist::LaneRange> nodes;
    std::vector<std::vector<float>> sums;
    for (const dist::LaneRange share : dist::share_lanes(batch.lanes(), parties_))
      for (const dist::LaneRange node : dist::canonical_nodes(batch.lanes(), share)) {
        const int64_t first = lanes.begin(node.first), rows = lanes.end(node.end() - 1) - first;
        results.nodes.push_back(runner_->run(batch, first, rows, batch.size(), node, loss_scale));
        nodes.push_back(node);
        sums.push_back(runner_->gradient().to_vector<float>());
      }
    std::vector<float*> values;
    for (std::vector<float>& sum : sums) values.push_back(sum.data());
    const float* sum = dist::sum_nodes(batch.lanes(), nodes, values, gradient.numel());
    gradient.write(std::span(sum, static_cast<size_t>(gradient.numel())));
    return results;
  }

 private:
  Context& context_;
  int parties_;
  StepSwitches switches_;
  std::unique_ptr<LaneRunner> runner_;
};

/// Master weights after a few steps, the last one ragged, and what the outcomes say.
struct Trained {
  std::vector<float> weights;
  std::vector<double> losses;
  std::vector<int64_t> correct;
};

Trained train(int parties, StepSwitches switches, const std::string& precision = "fp32") {
  Context context({.threads = 2});
  Config config = small_config();
  if (precision == "fp16") config.run.precision = Precision::fp16;  // the program refuses it on a CPU, the step does not
  Parties engine(context, std::max(parties, 1), switches);
  TrainingStep training(context, config, {.height = kSize, .width = kSize, .channels = 3}, 10, 3, switches, parties > 0 ? &engine : nullptr);
  Trained trained;
  for (int step = 0; step < 3; ++step) training.run(batch_of(0, step, step < 2 ? kMicroBatch * kLanes : 11));
  for (const StepOutcome& outcome : training.take_outcomes(true)) {
    trained.losses.push_back(outcome.loss_sum);
    trained.correct.push_back(outcome.correct);
  }
  trained.weights = training.store().master.to_vector<float>();
  for (const StateTensor& state : training.state()) {
    if (state.tensor.dtype() != DType::f32) continue;
    const std::vector<float> numbers = state.tensor.to_vector<float>();
    trained.weights.insert(trained.weights.end(), numbers.begin(), numbers.end());
  }
  return trained;
}

void check_equal(const Trained& shared, const Trained& alone) {
  REQUIRE(alone.losses.size() == 3);
  CHECK((shared.weights == alone.weights));
  CHECK(shared.correct == alone.correct);
  for (size_t i = 0; i < alone.losses.size(); ++i) CHECK(shared.losses[i] == alone.losses[i]);
}

}  // namespace

TEST_CASE("LaneRunner: shares of any number of parties train to the bits of one", "[dist]") {
  const Trained alone = train(0, {});
  for (const int parties : {1, 2, 3, 5, 7})
    for (const bool fold : {true, false})
      for (const bool plan : {true, false}) {
        INFO(parties << " parties, fold " << fold << ", plan " << plan);
        check_equal(train(parties, {.fold = fold, .plan = plan}), alone);
      }
}

TEST_CASE("LaneRunner: what a listener is told of a gradient is final, comes from its end, and changes no bit", "[dist]") {
  const auto gradient_of = [](StepSwitches switches, int64_t bucket, std::vector<int64_t>& told) {
    Context context({.threads = 2});
    const Config config = small_config();
    LanePass pass(context, config, {.height = kSize, .width = kSize, .channels = 3}, 10);
    LaneRunner runner(context, pass, switches);
    std::vector<std::pair<int64_t, std::vector<float>>> parts;
    if (bucket > 0)
      pass.set_gradient_listener(bucket, [&](int64_t first) {
        const float* now = runner.gradient().data<float>();  // also while a plan is recorded
        parts.emplace_back(first, std::vector<float>(now + first, now + runner.gradient().numel()));
      });
    std::vector<float> gradient;
    for (int step = 0; step < 3; ++step) {  // the first is recorded
      parts.clear();
      told.clear();
      context.set_rng_key(config.run.seed, 0);
      runner.run(batch_of(0, step, 8), 0, 8, 20, {0, 2});
      gradient = runner.gradient().to_vector<float>();
      int64_t before = std::ssize(gradient);
      for (const auto& [first, part] : parts) {
        CHECK((first == 0 || before - first >= bucket));
        before = first;
        told.push_back(first);
        CHECK((part == std::vector<float>(gradient.begin() + first, gradient.end())));
      }
    }
    return gradient;
  };
  std::vector<int64_t> none, told;
  const std::vector<float> alone = gradient_of({}, 0, none);
  for (const bool plan : {true, false})
    for (const int64_t bucket : {1, 200, 1 << 30}) {
      CHECK((gradient_of({.plan = plan}, bucket, told) == alone));
      REQUIRE(!told.empty());
      CHECK(told.back() == 0);
      CHECK((told.size() == 1) == (bucket == 1 << 30));
    }
}

// A folded pass rounds its lanes' gradients to 16 bits together, so only lanes one after another can be shared out.
TEST_CASE("LaneRunner: with a loss scale, lanes one after another train to the bits of one party", "[dist]") {
  const Trained alone = train(0, {.fold = false}, "fp16");
  for (const int parties : {1, 2, 3, 5}) {
    INFO(parties << " parties");
    check_equal(train(parties, {.fold = false}, "fp16"), alone);
  }
}

TEST_CASE("train.loss sum: the gradient is that of the mean times the step's pictures; the loss reported is the same", "[training]") {
  const auto first_step = [](LossSum loss, int64_t pictures) {
    Context context({.threads = 2});
    Config config = small_config();
    config.train.loss = loss;
    TrainingStep training(context, config, {.height = kSize, .width = kSize, .channels = 3}, 10, 3);
    training.run(batch_of(0, 0, pictures));
    return training.take_outcomes(true).at(0);
  };
  for (const int64_t pictures : {kMicroBatch * kLanes, 11}) {
    const StepOutcome mean = first_step(LossSum::mean, pictures), sum = first_step(LossSum::sum, pictures);
    CHECK(sum.grad_norm == Approx(mean.grad_norm * static_cast<double>(pictures)).epsilon(1e-5));
    CHECK(sum.loss_sum == mean.loss_sum);
  }
}
