// Training on a GPU against the CPU: loss curves, mixed precision, graphs, resident data.
#include <cmath>

#include "core/error.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"
#include "tools/data_run.h"
#include "tools/training_step.h"

namespace tern {
namespace {

using test::no_gpu;
using test::on_gpu;

constexpr data::PictureShape kPictures{12, 12, 3};
constexpr int64_t kSize = 44;  // three steps of 16, the last one ragged, in lanes of 4

/// Pictures whose class shows in their colours.
class Blobs final : public data::Dataset {
 public:
  std::string_view name() const override { return "blobs"; }
  int64_t size() const override { return kSize; }
  data::PictureShape shape() const override { return kPictures; }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return index % 3; }
  void read(int64_t index, std::span<uint8_t> hwc) const override {
    for (size_t i = 0; i < hwc.size(); ++i) {
      const uint32_t noise = random4({9, 0, static_cast<uint64_t>(index), 1}, static_cast<uint32_t>(i)).v[0] % 100;
      hwc[i] = static_cast<uint8_t>(noise + (static_cast<int64_t>(i % 3) == label(index) ? 120 : 20));
    }
  }
  std::string where(int64_t index) const override { return std::to_string(index); }

 private:
  std::vector<std::string> classes_{"red", "green", "blue"};
};

Config small_config() {
  return parse_config(R"({"model": {"layers": [
      {"type": "conv2d", "out": 8, "kernel": 3, "padding": 1, "bias": false}, {"type": "batch_norm"}, {"type": "relu"},
      {"type": "max_pool", "kernel": 2}, {"type": "conv2d", "out": 16, "kernel": 3}, {"type": "batch_norm"},
      {"type": "relu"}, {"type": "dropout", "p": 0.1}, {"type": "flatten"}, {"type": "linear", "out": 3}]},
    "data": {"name": "synthetic", "augment": [{"name": "crop", "pad": 2}, {"name": "flip"}]},
    "train": {"epochs": 4, "lanes": 4, "micro_batch": 4, "clip_norm": 1.0, "ema": 0.9},
    "optim": {"name": "adamw", "lr": 0.01}, "schedule": {"name": "onecycle", "max_lr": 0.02}})", "test");
}

struct Curve {
  std::vector<StepOutcome> steps;
  std::vector<float> weights;
};

struct Variant {
  Precision precision = Precision::fp32;
  bool resident = true;
  StepSwitches switches = {};
};

Curve train(Context::Options options, int count, const Variant& variant = {}) {
  Context context(options);
  Config config = small_config();
  config.run.precision = variant.precision;
  const auto data = std::make_shared<Blobs>();
  data::LoaderOptions loading = data::loader_options(config);
  TrainingStep step(context, config, kPictures, 3, 3, variant.switches);
  const bool resident = variant.resident && options.device.kind == Device::Kind::cuda;
  if (resident) step.lanes().make_resident(*data, loading.augment);
  loading.pixels = !resident;
  data::Loader loader(data, loading);
  Curve curve;
  for (int64_t epoch = 0; static_cast<int>(curve.steps.size()) < count; ++epoch) {
    loader.start(epoch);
    while (const data::Batch* batch = loader.next()) {
      step.run(*batch);
      if (batch->step + 1 == loader.steps_per_epoch())
        for (const StepOutcome& outcome : step.take_outcomes(true)) curve.steps.push_back(outcome);
    }
  }
  curve.weights = step.store().master.to_vector<float>();
  return curve;
}

/// The first `count` steps within `tolerance`: later ones of so small a network go their own way once roundings differ.
void check_curves(const Curve& got, const Curve& want, size_t count, double tolerance) {
  REQUIRE(got.steps.size() == want.steps.size());
  for (size_t i = 0; i < got.steps.size(); ++i) CHECK(got.steps[i].finite);
  for (size_t i = 0; i < count; ++i) {
    INFO("step " << i);
    CHECK(got.steps[i].loss_sum == Approx(want.steps[i].loss_sum).epsilon(tolerance));
    CHECK(got.steps[i].grad_norm == Approx(want.steps[i].grad_norm).epsilon(5 * tolerance));
    CHECK(got.steps[i].lr == want.steps[i].lr);
  }
  CHECK(got.steps.back().loss_sum / static_cast<double>(got.steps.back().pictures) <
        0.7 * got.steps[0].loss_sum / static_cast<double>(got.steps[0].pictures));
}

}  // namespace

TEST_CASE("cuda: twelve steps follow the CPU's loss curve in fp32", "[cuda][training]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  check_curves(train(on_gpu(), 12), train({.threads = 2}, 12), 12, 2e-3);
}

TEST_CASE("cuda: fp16 and bf16 follow it too, fp16 with a loss scale", "[cuda][training]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  const Curve exact = train({.threads = 2}, 12);
  const Curve half = train(on_gpu(), 12, {.precision = Precision::fp16});
  CHECK(half.steps[0].loss_scale > 1);
  check_curves(half, exact, 6, 2e-2);
  const Curve brain = train(on_gpu(), 12, {.precision = Precision::bf16});
  CHECK(brain.steps[0].loss_scale == 1);
  check_curves(brain, exact, 6, 1e-1);
}

TEST_CASE("cuda: graph or not, plan or eager, resident data or the loader's: the same bits", "[cuda][training][plan]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  for (const Precision precision : {Precision::fp32, Precision::fp16}) {
    const Curve first = train(on_gpu(), 9, {.precision = precision});
    Context::Options no_graph = on_gpu();
    no_graph.graph = false;
    CHECK(train(no_graph, 9, {.precision = precision}).weights == first.weights);
    CHECK(train(on_gpu(), 9, {.precision = precision, .resident = false}).weights == first.weights);
    CHECK(train(on_gpu(), 9, {.precision = precision, .switches = {.plan = false}}).weights == first.weights);
    CHECK(train(on_gpu(), 9, {.precision = precision, .switches = {.reuse_memory = false}}).weights == first.weights);
    Context::Options clean = on_gpu();
    clean.poison = false;
    CHECK(train(clean, 9, {.precision = precision}).weights == first.weights);
  }
}

TEST_CASE("cuda: lanes one after another agree with the folded batch within rounding", "[cuda][training]") {
  if (const std::string why = no_gpu(); !why.empty()) SKIP(why);
  const Curve folded = train(on_gpu(), 6), lanes = train(on_gpu(), 6, {.switches = {.fold = false}});
  for (size_t i = 0; i < folded.steps.size(); ++i)
    CHECK(lanes.steps[i].loss_sum == Approx(folded.steps[i].loss_sum).epsilon(1e-3));
}

}  // namespace tern
