// One whole training step (forward, backward, clip, optimizer) of a network on a synthetic batch: no data set, no loader.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "bench/arguments.h"
#include "bench/gpu_timer.h"
#include "bench/peaks.h"
#include "bench/spread.h"
#include "core/cpu_path.h"
#include "core/rng.h"
#include "tools/environment.h"
#include "tools/exit_codes.h"
#include "tools/training_step.h"

namespace tern::bench {
namespace {

struct Arguments {
  std::string model = "cifar-cnn", device = "cpu", precision = "fp32";
  std::optional<int> lanes, micro_batch;
  int threads = 0, steps = 10;
  bool no_fold = false, no_plan = false, no_graph = false, json = false;
};

struct Result {
  Spread seconds;
  size_t steps = 0;
  int lanes = 0, micro_batch = 0;
  double seconds_fastest = 0, gflop = 0;
  size_t tensor_bytes_peak = 0, arena_bytes = 0;
  size_t bytes_in_step = 0;           ///< allocated at the same time at most, beyond what stays from step to step
  uint64_t allocations_per_step = 0;  ///< by the caching allocator
  int64_t peak_rss = 0;
  std::string device, precision;
  double peak_gflops = 0, peak_copy_gbps = 0;
};

constexpr data::PictureShape kPictures{32, 32, 3};
constexpr int64_t kClasses = 10;

data::Batch synthetic_batch(const TrainConfig& train) {
  data::Batch batch;
  batch.micro_batch = train.micro_batch;
  const int64_t count = int64_t{train.lanes} * train.micro_batch;
  for (int64_t i = 0; i < count; ++i) {
    batch.labels.push_back(i % kClasses);
    batch.indices.push_back(i);
    for (uint32_t block = 0; block < 32 * 32 * 3 / 4; ++block)
      for (uint32_t word : random4({1, 0, static_cast<uint64_t>(i), kRngSynthetic}, block).v)
        batch.images.push_back(static_cast<uint8_t>(word >> 24));
  }
  return batch;
}

/// A preset with the default recipe, or the network and recipe of a config file.
Config config_of(const Arguments& a) {
  const std::vector<Override> overrides = {{"run.device", '"' + a.device + '"', "--device"}, {"run.precision", '"' + a.precision + '"', "--precision"}};
  const bool file = a.model.ends_with(".json");
  Config config = file ? load_config(a.model, overrides) : parse_config("{\"model\": {\"name\": \"" + a.model + "\"}}", "--model", overrides);
  config.train.lanes = a.lanes.value_or(config.train.lanes);
  config.train.micro_batch = a.micro_batch.value_or(config.train.micro_batch);
  return config;
}

Context::Options context_options(const Arguments& a, const Config& config) {
  Context::Options options;
  options.threads = a.threads;
  options.device = bench::named_device(a.device);
  options.tf32 = config.run.precision == Precision::tf32;
  options.graph = !a.no_graph;
  return options;
}

/// Seconds of a step. Steps on a GPU are only queued: several are timed together.
std::vector<double> time_steps(TrainingStep& training, const data::Batch& batch, int samples, int together) {
  std::vector<double> seconds;
  for (int i = 0; i < samples; ++i) {
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < together; ++k) training.run(batch);
    training.take_outcomes(true);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / together);
  }
  return seconds;
}

void measure_peaks_of(Context& context, Precision precision, Result& r) {
#if TERN_CUDA
  if (context.device().kind == Device::Kind::cuda) {
    const GpuPeaks peaks = measure_gpu_peaks(context);
    r.peak_copy_gbps = peaks.copy_gbps();
    r.peak_gflops = precision == Precision::fp16   ? peaks.f16_gflops
                    : precision == Precision::bf16 ? peaks.bf16_gflops
                    : precision == Precision::tf32 ? peaks.tf32_gflops
                                                   : peaks.f32_gflops;
    return;
  }
#endif
  (void)precision;
  const Peaks peaks = measure_peaks(context.pool());
  r.peak_gflops = peaks.fma_gflops;
  r.peak_copy_gbps = peaks.copy_gbps;
}

Result measure(const Arguments& a) {
  Config config = config_of(a);
  Context context(context_options(a, config));
  config.run.precision = resolve_precision(config.run.precision, context.device());
  TrainingStep training(context, config, kPictures, kClasses, 1000, {.fold = !a.no_fold, .plan = !a.no_plan});
  const data::Batch batch = synthetic_batch(config.train);
  const bool on_gpu = context.device().kind == Device::Kind::cuda;

  time_steps(training, batch, on_gpu ? 10 : 2, 1);  // records the plan, touches the arena; a GPU also captures and tunes
  const AllocatorStats warm = context.allocator().stats();
  context.allocator().reset_peak();
  constexpr int kTogether = 20;
  const int together = on_gpu ? kTogether : 1;
  std::vector<double> seconds = time_steps(training, batch, (a.steps + together - 1) / together, together);
  Result r;
  r.steps = seconds.size() * static_cast<size_t>(together);
  r.lanes = config.train.lanes;
  r.micro_batch = config.train.micro_batch;
  r.device = context.device().str();
  r.precision = name_of(config.run.precision);
  const AllocatorStats stats = context.allocator().stats();
  r.peak_rss = peak_rss();  // before the peaks, whose buffers are large
  r.tensor_bytes_peak = std::max(warm.total.peak, stats.total.peak);
  r.bytes_in_step = stats.total.peak - std::min(warm.total.current, stats.total.peak);
  r.arena_bytes = training.arena()->bytes();
  r.allocations_per_step = (stats.allocations - warm.allocations) / r.steps;
  r.seconds_fastest = std::ranges::min(seconds);
  r.seconds = spread_of(std::move(seconds));
  r.gflop = 1e-9 * static_cast<double>(training.network().training_flops() * batch.size());
  measure_peaks_of(context, config.run.precision, r);
  return r;
}

void print(const Arguments& a, const Result& r) {
  const double images = static_cast<double>(r.lanes) * r.micro_batch;
  const double share = r.gflop / r.seconds.median / r.peak_gflops;
  const char* pattern =
      a.json ? "{\"model\": \"%s\", \"device\": \"%s\", \"precision\": \"%s\", \"lanes\": %d, \"micro_batch\": %d, \"simd\": \"%s\", \"steps\": %zu, \"images_per_s\": %.1f, "
               "\"ms_median\": %.3f, \"ms_fastest\": %.3f, \"ms_p25\": %.3f, \"ms_p75\": %.3f, \"gflop\": %.3f, \"share_of_fma_peak\": %.4f, "
               "\"peak_fma_gflops\": %.1f, \"peak_copy_gbps\": %.2f, \"tensor_bytes_peak\": %zu, \"arena_bytes\": %zu, "
               "\"allocations_per_step\": %llu, \"bytes_in_step\": %zu, \"peak_rss\": %lld}\n"
             : "%s, %s, %s, %d lanes of %d, %s, %zu steps: %.1f images/s; a step takes %.3f ms (fastest %.3f, middle half %.3f to %.3f) for %.3f GFLOP, %.4f of the "
               "FMA peak (%.1f GFLOP/s; copy %.2f GB/s); tensors peak at %zu bytes, arena %zu, %llu allocations of up to %zu bytes a step, peak "
               "RSS %lld bytes\n";
  std::printf(pattern, a.model.c_str(), r.device.c_str(), r.precision.c_str(), r.lanes, r.micro_batch, cpu_path().c_str(), r.steps, images / r.seconds.median,
              1e3 * r.seconds.median, 1e3 * r.seconds_fastest, 1e3 * r.seconds.low, 1e3 * r.seconds.high, r.gflop, share, r.peak_gflops, r.peak_copy_gbps,
              r.tensor_bytes_peak, r.arena_bytes, static_cast<unsigned long long>(r.allocations_per_step), r.bytes_in_step,
              static_cast<long long>(r.peak_rss));
}

std::optional<std::string> parse(int argc, char** argv, Arguments& a) {
  CLI::App app{"Times a whole training step of a preset on a synthetic batch of 32x32x3 pictures", "bench_step"};
  app.add_option("--model", a.model, "A preset, or a config file with its own recipe")->type_name("NAME|CONFIG.json")->capture_default_str();
  app.add_option("--lanes", a.lanes, "Lanes of a step; default: the config file's, else 4")->check(CLI::Range(1, 4096));
  app.add_option("--micro-batch", a.micro_batch, "Pictures of a lane; default: the config file's, else 32")->check(CLI::Range(1, 65536));
  app.add_option("--device", a.device, "cpu, cuda or cuda:i")->capture_default_str();
  app.add_option("--precision", a.precision, "fp32; on CUDA also tf32, bf16, fp16")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16", "fp16"}))
      ->capture_default_str();
  app.add_option("--threads", a.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--steps", a.steps, "Steps that are timed, after some that are not; on a GPU a multiple of 20")->check(CLI::Range(1, 1000000))->capture_default_str();
  app.add_flag("--no-fold", a.no_fold, "Lanes one after another instead of in one batch");
  app.add_flag("--no-plan", a.no_plan, "Eager instead of recorded");
  app.add_flag("--no-graph", a.no_graph, "Op by op instead of as a CUDA graph");
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
