// Kernel microbenchmarks: every row of tests/op_cases.h, forward and backward, checked before it is timed.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <regex>

#include "bench/arguments.h"
#include "bench/gpu_timer.h"
#include "bench/op_bench.h"
#include "bench/peaks.h"
#include "core/cpu_path.h"
#include "core/cuda_devices.h"
#include "core/thread_pool.h"
#include "core/version.h"
#include "tools/config.h"
#include "tools/exit_codes.h"

namespace tern::bench {
namespace {

using testing::OpCase;

struct Arguments {
  bool list = false;
  std::string filter = ".", json, device = "cpu", dtype = "f32";
  int threads = 0;
  double min_time = 0.2;
};

struct Entry {
  std::string name;
  const OpCase* row;
  OpBench::Pass pass;
};

std::vector<Entry> entries(const std::string& filter) {
  std::regex pattern;
  try {
    pattern = std::regex(filter);
  } catch (const std::regex_error& error) {
    throw ConfigError("--filter '" + filter + "' is no regular expression: " + error.what());
  }
  std::vector<Entry> chosen;
  for (const OpCase& row : testing::op_cases())
    for (const OpBench::Pass pass : {OpBench::Pass::forward, OpBench::Pass::backward}) {
      if (pass == OpBench::Pass::backward && !row.gradient) continue;
      const std::string name = name_of(row) + (pass == OpBench::Pass::forward ? "/forward" : "/backward");
      if (std::regex_search(name, pattern)) chosen.push_back({name, &row, pass});
    }
  if (chosen.empty()) throw ConfigError("--filter '" + filter + "' fits no benchmark; --list shows their names");
  return chosen;
}

/// Every row whose kernels are wrong, with what is wrong: a wrong kernel's speed means nothing.
std::map<const OpCase*, std::string> find_faults(const std::vector<Entry>& chosen, const Context::Options& options, DType dtype) {
  std::map<const OpCase*, std::string> faults;
  const OpCase* checked = nullptr;
  for (const Entry& entry : chosen) {
    if (entry.row == checked) continue;
    checked = entry.row;
    try {
      if (const auto fault = find_fault(*checked, options, dtype)) faults[checked] = *fault;
    } catch (const Error& error) {
      faults[checked] = error.what();
    }
  }
  return faults;
}

[[noreturn]] void refuse(const std::map<const OpCase*, std::string>& faults) {
  std::string text = "wrong kernels are not timed:";
  for (const auto& [row, fault] : faults) text += "\n  " + name_of(*row) + ": " + fault;
  throw Error(text);
}

void time_entry(benchmark::State& state, const Entry& entry, const Context::Options& options, const Peaks& peaks) {
  Context context(options);
  OpBench op(context, *entry.row, entry.pass);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) op.run();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!op.works()) return state.SetLabel("no kernel: hands tensors on");
  const auto rate = [&](double one) { return benchmark::Counter(one, benchmark::Counter::kIsIterationInvariantRate); };
  state.counters["items/s"] = rate(op.items());
  state.counters["bytes/s"] = rate(op.bytes());
  if (op.flops() > 0) state.counters["flop/s"] = rate(op.flops());
  // A share of what limits the row: multiply-adds for products, else the memory.
  const double at_peak = op.flops() > 0 ? op.flops() / peaks.fma_gflops : op.bytes() / peaks.copy_gbps;
  state.counters["of_peak"] = 1e-9 * at_peak * static_cast<double>(state.iterations()) / seconds;
}

#if TERN_CUDA
constexpr double kLargeBytes = 64e6;  // of a row's largest tensor: well over the L2 of most GPUs

double matrix_gflops(const GpuPeaks& peaks, const std::string& dtype) {
  if (dtype == "tf32") return peaks.tf32_gflops;
  if (dtype == "f16") return peaks.f16_gflops;
  return dtype == "bf16" ? peaks.bf16_gflops : peaks.f32_gflops;
}

/// One measurement, whose median is reported as a single iteration.
void time_on_gpu(benchmark::State& state, const Entry& entry, const Context::Options& options, const Arguments& arguments,
                 DType dtype, const GpuPeaks& peaks) {
  Context context(options);
  OpBench op(context, *entry.row, entry.pass, {.dtype = dtype, .at_least_bytes = kLargeBytes});
  if (!op.works()) {
    for (auto _ : state) state.SetIterationTime(1e-9);
    return state.SetLabel("no kernel: hands tensors on");
  }
  GpuTimer timer(context);
  const bool by_flops = op.flops() > 0;
  const auto times = timer.time([&] { op.run(); }, arguments.min_time, by_flops ? GpuTimer::Cache::warm : GpuTimer::Cache::cold);
  for (auto _ : state) state.SetIterationTime(times.median);
  state.counters["runs"] = times.runs;
  state.counters["us_p10"] = 1e6 * times.low;
  state.counters["us_p90"] = 1e6 * times.high;
  state.counters["items/s"] = op.items() / times.median;
  const Traffic& traffic = op.traffic();
  const double bytes = traffic.read + traffic.written;
  state.counters["bytes"] = bytes;
  state.counters["bytes/s"] = bytes / times.median;
  if (by_flops) {
    state.counters["flop/s"] = op.flops() / times.median;
    state.counters["of_peak"] = 1e-9 * op.flops() / times.median / matrix_gflops(peaks, arguments.dtype);
    return;
  }
  state.counters["of_peak"] = 1e-9 * bytes / times.median / peaks.copy_gbps();
  state.counters["of_copy"] = timer.copy_seconds(bytes) / times.median;
  if (entry.row->op == "batch_norm" && !entry.row->variant.starts_with("eval"))  // its sums come before its outputs
    state.counters["of_peak_2_reads"] = 1e-9 * (bytes + traffic.read) / times.median / peaks.copy_gbps();
}
#endif

/// A reporter without the library's "/min_time:0.2/real_time" behind every name.
template <class Reporter>
class PlainNames : public Reporter {
 public:
  using Reporter::Reporter;
  void ReportRuns(const std::vector<benchmark::BenchmarkReporter::Run>& runs) override {
    auto plain = runs;
    for (auto& each : plain) {
      each.run_name.min_time.clear();
      each.run_name.time_type.clear();
      each.run_name.iterations.clear();
    }
    Reporter::ReportRuns(plain);
  }
};

/// The library's own arguments; it keeps pointers to them.
std::vector<std::string> library_words(const Arguments& arguments) {
  std::vector<std::string> words{"bench"};
  if (!arguments.json.empty()) {
    if (!std::ofstream(arguments.json)) throw Error("--json " + arguments.json + ": cannot be written");
    words.push_back("--benchmark_out=" + arguments.json);
    words.push_back("--benchmark_out_format=json");
  }
  return words;
}

void add_fact(const char* key, const std::string& value) { benchmark::AddCustomContext(key, value); }

void report(bool to_file) {
  PlainNames<benchmark::ConsoleReporter> table(benchmark::ConsoleReporter::OO_Tabular);
  PlainNames<benchmark::JSONReporter> json;
  benchmark::RunSpecifiedBenchmarks(&table, to_file ? &json : nullptr);
  benchmark::Shutdown();
}

void run_on_cpu(const Arguments& arguments, const std::vector<Entry>& chosen) {
  if (arguments.dtype != "f32") throw ConfigError("--dtype " + arguments.dtype + " needs --device cuda");
  Context::Options options;
  options.threads = arguments.threads;
  if (const auto faults = find_faults(chosen, options, DType::f32); !faults.empty()) refuse(faults);
  ThreadPool pool(arguments.threads);
  const Peaks peaks = measure_peaks(pool);
  add_fact("simd", cpu_path());
  add_fact("threads", std::to_string(pool.threads()));
  add_fact("peak FMA GFLOP/s", std::to_string(peaks.fma_gflops));
  add_fact("peak copy GB/s", std::to_string(peaks.copy_gbps));
  for (const Entry& entry : chosen)
    benchmark::RegisterBenchmark(entry.name.c_str(), [=](benchmark::State& state) { time_entry(state, entry, options, peaks); })
        ->MinTime(arguments.min_time)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  report(!arguments.json.empty());
}

#if TERN_CUDA
/// Rows that are wrong or have no kernel are left out, and named by the Error that this ends with: time on a GPU is
/// too dear to be lost for them.
void run_on_gpu(const Arguments& arguments, const std::vector<Entry>& chosen, Device device) {
  Context::Options options;
  options.threads = arguments.threads;
  options.device = device;
  options.tf32 = arguments.dtype == "tf32";
  options.graph = false;  // kernels are queued one by one behind the flush: a graph's start would be timed along
  const DType dtype = arguments.dtype == "f16" ? DType::f16 : arguments.dtype == "bf16" ? DType::bf16 : DType::f32;
  std::vector<Entry> timed;
  for (const Entry& entry : chosen)
    if (size_of(dtype) == 4 || entry.row->half) timed.push_back(entry);
  GpuPeaks peaks;
  {
    Context context(options);
    peaks = measure_gpu_peaks(context);
    add_fact("gpu", cuda_device(device.index).name);
    add_fact("L2 bytes", std::to_string(GpuTimer(context).l2_bytes()));
  }
  auto faults = find_faults(timed, options, dtype);
  std::erase_if(timed, [&](const Entry& entry) { return faults.contains(entry.row); });
  add_fact("dtype", arguments.dtype);
  add_fact("peak copy kernel GB/s", std::to_string(peaks.kernel_copy_gbps));
  add_fact("peak cudaMemcpyAsync GB/s", std::to_string(peaks.memcpy_gbps));
  add_fact("peak f32 GFLOP/s", std::to_string(peaks.f32_gflops));
  add_fact("peak tf32 GFLOP/s", std::to_string(peaks.tf32_gflops));
  add_fact("peak f16 GFLOP/s", std::to_string(peaks.f16_gflops));
  add_fact("peak bf16 GFLOP/s", std::to_string(peaks.bf16_gflops));
  for (const Entry& entry : timed)
    benchmark::RegisterBenchmark(entry.name.c_str(),
                                 [=, &arguments, &faults](benchmark::State& state) {
                                   try {
                                     time_on_gpu(state, entry, options, arguments, dtype, peaks);
                                   } catch (const Error& error) {
                                     faults[entry.row] = error.what();
                                     state.SkipWithError(error.what());
                                   }
                                 })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  if (!timed.empty()) report(!arguments.json.empty());
  if (!faults.empty()) refuse(faults);
}
#else
void run_on_gpu(const Arguments&, const std::vector<Entry>&, Device device) {
  throw DeviceError("--device " + device.str() + ": this build of tern has no CUDA");
}
#endif

void run(const Arguments& arguments) {
  const std::vector<Entry> chosen = entries(arguments.filter);
  if (arguments.list) {
    for (const Entry& entry : chosen) std::puts(entry.name.c_str());
    return;
  }
  const Device device = bench::named_device(arguments.device);
  std::vector<std::string> words = library_words(arguments);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  add_fact("tern", std::string(version()) + " (" + std::string(git_revision()) + ")");
  if (device.kind == Device::Kind::cuda)
    run_on_gpu(arguments, chosen, device);
  else
    run_on_cpu(arguments, chosen);
}

std::optional<std::string> parse(int argc, char** argv, Arguments& arguments) {
  CLI::App app{"Times every kernel on its own, forward and backward, after checking its results", "bench"};
  app.add_flag("--list", arguments.list, "Print the names and exit");
  app.add_option("--filter", arguments.filter, "Only names in which this regular expression is found")->type_name("RE");
  app.add_option("--json", arguments.json, "Also write the results here, with the peaks of this run")->type_name("FILE");
  app.add_option("--device", arguments.device, "cpu, cuda or cuda:i")->capture_default_str();
  app.add_option("--dtype", arguments.dtype, "Of the floating inputs; on the CPU f32 only")
      ->check(CLI::IsMember({"f32", "tf32", "f16", "bf16"}))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--min-time", arguments.min_time, "Seconds a benchmark runs at least")->check(CLI::PositiveNumber)->capture_default_str();
  app.footer("items/s counts elements of outputs (backward: of gradients), bytes/s what must be read and written at least.\n"
             "of_peak is the share of the FMA peak where a row counts flop/s, of the copy bandwidth elsewhere, both measured in\n"
             "this run on these threads. Rows that fit the caches may be over 1.\n"
             "On a GPU: medians by events; rows of bytes have tensors of 64 MB at least and a cold L2, bytes are what every op of\n"
             "the row reads and writes once, of_copy is the share of a copy of as many bytes timed the same way, and\n"
             "of_peak_2_reads counts inputs twice, as BatchNorm must read those that exceed the cache.");
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
    bench::run(arguments);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return static_cast<int>(exit_code_for(error));
  }
}
