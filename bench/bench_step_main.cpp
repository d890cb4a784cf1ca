// One whole training step (forward, backward, clip, optimizer) of a preset on a synthetic batch: no data set, no loader.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "bench/arguments.h"
#include "bench/peaks.h"
#include "core/cpu_path.h"
#include "core/recorder.h"
#include "core/rng.h"
#include "tools/environment.h"
#include "tools/exit_codes.h"
#include "tools/training_step.h"

namespace tern::bench {
namespace {

struct Arguments {
  std::string model = "cifar-cnn";
  int lanes = 4, micro_batch = 32, threads = 0, steps = 10;
  bool no_fold = false, no_plan = false, json = false;
};

struct Result {
  double seconds_median = 0, seconds_fastest = 0, gflop = 0;
  size_t tensor_bytes_peak = 0, arena_bytes = 0;
  uint64_t allocations_per_step = 0;  ///< by the caching allocator
  int64_t peak_rss = 0;
  Peaks peaks;
};

constexpr data::PictureShape kPictures{32, 32, 3};
constexpr int64_t kClasses = 10;

data::Batch synthetic_batch(const Arguments& a) {
  data::Batch batch;
  batch.micro_batch = a.micro_batch;
  const int64_t count = int64_t{a.lanes} * a.micro_batch;
  for (int64_t i = 0; i < count; ++i) {
    batch.labels.push_back(i % kClasses);
    batch.indices.push_back(i);
    for (uint32_t block = 0; block < 32 * 32 * 3 / 4; ++block)
      for (uint32_t word : random4({1, 0, static_cast<uint64_t>(i), kRngSynthetic}, block).v)
        batch.images.push_back(static_cast<uint8_t>(word >> 24));
  }
  return batch;
}

/// Counts the multiply-adds of convolutions and linear layers in a forward pass.
class FlopCounter final : public Recorder {
 public:
  void record(const Event& event) override {
    if (event.op->name() != "conv2d" && event.op->name() != "linear") return;
    const Tensor& w = event.inputs[1];
    const double flops = 2.0 * static_cast<double>(event.outputs[0].numel()) * static_cast<double>(w.numel() / w.size(0));
    if (forward_ == 0) first_ = flops;
    forward_ += flops;
  }
  void record_phase(std::string_view) override {}
  /// Every layer's gradient costs its forward pass twice, but nobody wants that of the pictures.
  double training() const { return 3 * forward_ - first_; }

 private:
  double forward_ = 0, first_ = 0;
};

double flops_of_a_picture(Context& context, nn::Network& network) {
  NoGrad guard(context);
  network.train(false);
  const Tensor x = Tensor::zeros(context, {1, 32, 32, 3});
  FlopCounter counter;
  context.set_recorder(&counter);
  network(x);
  context.set_recorder(nullptr);
  return counter.training();
}

Result measure(const Arguments& a) {
  Config config = parse_config("{\"model\": {\"name\": \"" + a.model + "\"}}", "--model");
  config.train.lanes = a.lanes;
  config.train.micro_batch = a.micro_batch;
  Context::Options options;
  options.threads = a.threads;
  Context context(options);
  TrainingStep training(context, config, kPictures, kClasses, 1000, {.fold = !a.no_fold, .plan = !a.no_plan});
  const data::Batch batch = synthetic_batch(a);

  for (int i = 0; i < 2; ++i) training.run(batch);  // records the plan, then touches the arena
  const size_t allocations = context.allocator().stats().allocations;
  std::vector<double> seconds;
  for (int i = 0; i < a.steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    training.run(batch);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  Result r;
  const AllocatorStats stats = context.allocator().stats();
  r.peak_rss = peak_rss();  // before the peaks, whose buffers are large
  r.tensor_bytes_peak = stats.total.peak;
  r.arena_bytes = training.arena()->bytes();
  r.allocations_per_step = (stats.allocations - allocations) / seconds.size();
  std::ranges::sort(seconds);
  r.seconds_fastest = seconds.front();
  r.seconds_median = seconds[seconds.size() / 2];
  r.gflop = 1e-9 * flops_of_a_picture(context, training.network()) * static_cast<double>(batch.size());
  r.peaks = measure_peaks(context.pool());
  return r;
}

void print(const Arguments& a, const Result& r) {
  const double images = static_cast<double>(a.lanes) * a.micro_batch;
  const double share = r.gflop / r.seconds_median / r.peaks.fma_gflops;
  const char* pattern =
      a.json ? "{\"model\": \"%s\", \"lanes\": %d, \"micro_batch\": %d, \"simd\": \"%s\", \"steps\": %d, \"images_per_s\": %.1f, "
               "\"ms_median\": %.3f, \"ms_fastest\": %.3f, \"gflop\": %.3f, \"share_of_fma_peak\": %.4f, "
               "\"peak_fma_gflops\": %.1f, \"peak_copy_gbps\": %.2f, \"tensor_bytes_peak\": %zu, \"arena_bytes\": %zu, "
               "\"allocations_per_step\": %llu, \"peak_rss\": %lld}\n"
             : "%s, %d lanes of %d, %s, %d steps: %.1f images/s; a step takes %.3f ms (fastest %.3f) for %.3f GFLOP, %.4f of the "
               "FMA peak (%.1f GFLOP/s; copy %.2f GB/s); tensors peak at %zu bytes, arena %zu, %llu allocations a step, peak RSS "
               "%lld bytes\n";
  std::printf(pattern, a.model.c_str(), a.lanes, a.micro_batch, cpu_path().c_str(), a.steps, images / r.seconds_median,
              1e3 * r.seconds_median, 1e3 * r.seconds_fastest, r.gflop, share, r.peaks.fma_gflops, r.peaks.copy_gbps,
              r.tensor_bytes_peak, r.arena_bytes, static_cast<unsigned long long>(r.allocations_per_step),
              static_cast<long long>(r.peak_rss));
}

std::optional<std::string> parse(int argc, char** argv, Arguments& a) {
  CLI::App app{"Times a whole training step of a preset on a synthetic batch of 32x32x3 pictures", "bench_step"};
  app.add_option("--model", a.model, "The network")->check(CLI::IsMember({"cifar-cnn", "lenet", "resnet18"}))->capture_default_str();
  app.add_option("--lanes", a.lanes, "Lanes of a step")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--micro-batch", a.micro_batch, "Pictures of a lane")->check(CLI::Range(1, 65536))->capture_default_str();
  app.add_option("--threads", a.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--steps", a.steps, "Steps that are timed, after two that are not")->check(CLI::Range(1, 1000000))->capture_default_str();
  app.add_flag("--no-fold", a.no_fold, "Lanes one after another instead of in one batch");
  app.add_flag("--no-plan", a.no_plan, "Eager instead of recorded");
  app.add_flag("--json", a.json, "Print one line of JSON");
  return parse_arguments(app, argc, argv);
}

}  // namespace
}  // namespace tern::bench

int main(int argc, char** argv) {
  using namespace tern;
  try {
    bench::Arguments arguments;
    if (const auto help = bench::parse(argc, argv, arguments)) {
      std::fputs(help->c_str(), stdout);
      return 0;
    }
    bench::print(arguments, bench::measure(arguments));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_step: %s\n", error.what());
    return static_cast<int>(exit_code_for(error));
  }
}
