// Kernel microbenchmarks: every row of tests/op_cases.h and every layer of some networks, checked before it is timed.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>

#include "bench/arguments.h"
#include "bench/compare.h"
#include "bench/gpu_timer.h"
#include "bench/op_bench.h"
#include "bench/peaks.h"
#include "bench/report.h"
#include "bench/row.h"
#include "core/cpu_path.h"
#include "core/cuda_devices.h"
#include "core/thread_pool.h"
#include "core/version.h"
#include "tools/config.h"
#include "tools/exit_codes.h"

namespace tern::bench {
namespace {

struct Arguments {
  bool list = false;
  std::string filter = ".", json, device = "cpu", dtype = "f32", compare, fail_over;
  std::vector<std::string> axes;
  int threads = 0, repeat = 5;
  double min_time = 0.05;
};

using Faults = std::map<const testing::OpCase*, std::string>;

/// Every op whose kernels are wrong, with what is wrong: a wrong kernel's speed means nothing.
Faults find_faults(const std::vector<Row>& chosen, const Context::Options& options, DType dtype) {
  Faults faults;
  std::set<const testing::OpCase*> checked;
  for (const Row& row : chosen) {
    if (!checked.insert(row.op.get()).second) continue;
    try {
      if (const auto fault = find_fault(row, options, dtype)) faults[row.op.get()] = *fault;
    } catch (const Error& error) {
      faults[row.op.get()] = error.what();
    }
  }
  return faults;
}

[[noreturn]] void refuse(const std::vector<Row>& chosen, const Faults& faults) {
  std::string text = "wrong kernels are not timed:";
  for (const Row& row : chosen)
    if (const auto fault = faults.find(row.op.get()); fault != faults.end()) text += "\n  " + row.name + ": " + fault->second;
  throw Error(text);
}

/// The row that is being timed: the library asks for it many times, and a large one's inputs take long to make.
struct Stage {
  const Row* row = nullptr;
  std::unique_ptr<Context> context;
  std::unique_ptr<OpBench> op;

  OpBench& enter(const Row& wanted, Context::Options options) {
    if (row == &wanted) return *op;
    op.reset();
    options.threads = wanted.threads;
    context = std::make_unique<Context>(options);
    op = std::make_unique<OpBench>(*context, *wanted.op, wanted.pass);
    row = &wanted;
    return *op;
  }
};

void time_row(benchmark::State& state, OpBench& op, int layers, const Peaks& peaks) {
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
  if (layers > 0) state.counters["layers"] = layers;
}

#if TERN_CUDA
constexpr double kLargeBytes = 64e6;  // of a row's largest tensor: well over the L2 of most GPUs

double matrix_gflops(const GpuPeaks& peaks, const std::string& dtype) {
  if (dtype == "tf32") return peaks.tf32_gflops;
  if (dtype == "f16") return peaks.f16_gflops;
  return dtype == "bf16" ? peaks.bf16_gflops : peaks.f32_gflops;
}

/// One measurement, whose median is reported as a single iteration.
void time_on_gpu(benchmark::State& state, const Row& row, const Context::Options& options, const Arguments& arguments,
                 DType dtype, const GpuPeaks& peaks) {
  Context context(options);
  OpBench op(context, *row.op, row.pass, {.dtype = dtype, .at_least_bytes = row.layers > 0 ? 0 : kLargeBytes});
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
  if (row.layers > 0) state.counters["layers"] = row.layers;
  if (by_flops) {
    state.counters["flop/s"] = op.flops() / times.median;
    state.counters["of_peak"] = 1e-9 * op.flops() / times.median / matrix_gflops(peaks, arguments.dtype);
    return;
  }
  state.counters["of_peak"] = 1e-9 * bytes / times.median / peaks.copy_gbps();
  state.counters["of_copy"] = timer.copy_seconds(bytes) / times.median;
  if (row.op->op == "batch_norm" && !row.op->variant.starts_with("eval"))  // its sums come before its outputs
    state.counters["of_peak_2_reads"] = 1e-9 * (bytes + traffic.read) / times.median / peaks.copy_gbps();
}
#endif

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

using Facts = std::map<std::string, std::string>;

struct Session {
  const Arguments& arguments;
  std::vector<Row> chosen;
  std::optional<Results> before;  ///< of --compare
  CompareOptions compare;
  Facts facts = {};

  void add_fact(const std::string& key, const std::string& value) {
    facts[key] = value;
    benchmark::AddCustomContext(key, value);
  }
};

/// Runs what is registered. Says which rows became slower than --fail-over allows; empty: none.
std::string run_registered(const Session& session) {
  size_t width = 9;
  std::map<std::string, std::string> groups;
  for (const Row& row : session.chosen) {
    width = std::max(width, row.name.size());
    groups[row.name] = row.group;
  }
  PlainNames<TableReporter> table(width, groups);
  PlainNames<benchmark::JSONReporter> json;
  benchmark::RunSpecifiedBenchmarks(&table, session.arguments.json.empty() ? nullptr : &json);
  benchmark::Shutdown();
  Comparison comparison;
  if (session.before) {
    comparison = compare_results(*session.before, {session.facts, table.measured()}, session.compare);
    std::printf("\n%s", comparison.text.c_str());
  }
  std::fputs(table.summary().c_str(), stdout);
  if (comparison.slower.empty()) return "";
  std::string text = std::to_string(comparison.slower.size()) + " slower by more than " + session.arguments.fail_over + ", beyond the noise:";
  for (const std::string& name : comparison.slower) text += "\n  " + name;
  return text;
}

/// Of each number of threads that a row is run on.
std::map<int, Peaks> measure_all_peaks(Session& session) {
  std::map<int, Peaks> peaks;
  for (const Row& row : session.chosen) peaks[row.threads] = {};
  std::string counts;
  for (auto& [threads, of_these] : peaks) {
    ThreadPool pool(threads);
    of_these = measure_peaks(pool);
    const std::string count = std::to_string(pool.threads()), on = peaks.size() > 1 ? " on " + count : "";
    counts += (counts.empty() ? "" : ",") + count;
    session.add_fact("peak FMA GFLOP/s" + on, std::to_string(of_these.fma_gflops));
    session.add_fact("peak copy GB/s" + on, std::to_string(of_these.copy_gbps));
  }
  session.add_fact("threads", counts);
  return peaks;
}

void run_on_cpu(Session& session) {
  const Arguments& arguments = session.arguments;
  if (arguments.dtype != "f32") throw ConfigError("--dtype " + arguments.dtype + " needs --device cuda");
  Context::Options options;
  options.threads = arguments.threads;
  if (const auto faults = find_faults(session.chosen, options, DType::f32); !faults.empty()) refuse(session.chosen, faults);
  session.add_fact("simd", cpu_path());
  const auto peaks = measure_all_peaks(session);
  Stage stage;
  for (const Row& row : session.chosen)
    benchmark::RegisterBenchmark(row.name.c_str(),
                                 [&](benchmark::State& state) {
                                   time_row(state, stage.enter(row, options), row.layers, peaks.at(row.threads));
                                 })
        ->MinTime(arguments.min_time)
        ->Repetitions(arguments.repeat)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  if (const std::string slower = run_registered(session); !slower.empty()) throw ExpectationError(slower);
}

#if TERN_CUDA
/// Rows that are wrong or have no kernel are left out, and named by the Error that this ends with: time on a GPU is
/// too dear to be lost for them.
void run_on_gpu(Session& session, Device device) {
  const Arguments& arguments = session.arguments;
  Context::Options options;
  options.threads = arguments.threads;
  options.device = device;
  options.tf32 = arguments.dtype == "tf32";
  options.graph = false;  // kernels are queued one by one behind the flush: a graph's start would be timed along
  const DType dtype = arguments.dtype == "f16" ? DType::f16 : arguments.dtype == "bf16" ? DType::bf16 : DType::f32;
  std::vector<Row> timed;
  for (const Row& row : session.chosen)
    if (size_of(dtype) == 4 || row.op->half) timed.push_back(row);
  GpuPeaks peaks;
  {
    Context context(options);
    peaks = measure_gpu_peaks(context);
    session.add_fact("gpu", cuda_device(device.index).name);
    session.add_fact("L2 bytes", std::to_string(GpuTimer(context).l2_bytes()));
  }
  auto faults = find_faults(timed, options, dtype);
  std::erase_if(timed, [&](const Row& row) { return faults.contains(row.op.get()); });
  session.add_fact("dtype", arguments.dtype);
  session.add_fact("peak copy kernel GB/s", std::to_string(peaks.kernel_copy_gbps));
  session.add_fact("peak cudaMemcpyAsync GB/s", std::to_string(peaks.memcpy_gbps));
  session.add_fact("peak f32 GFLOP/s", std::to_string(peaks.f32_gflops));
  session.add_fact("peak tf32 GFLOP/s", std::to_string(peaks.tf32_gflops));
  session.add_fact("peak f16 GFLOP/s", std::to_string(peaks.f16_gflops));
  session.add_fact("peak bf16 GFLOP/s", std::to_string(peaks.bf16_gflops));
  for (const Row& row : timed)
    benchmark::RegisterBenchmark(row.name.c_str(),
                                 [&](benchmark::State& state) {
                                   try {
                                     time_on_gpu(state, row, options, arguments, dtype, peaks);
                                   } catch (const Error& error) {
                                     faults[row.op.get()] = error.what();
                                     state.SkipWithError(error.what());
                                   }
                                 })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  const std::string slower = timed.empty() ? "" : run_registered(session);
  if (!faults.empty()) refuse(session.chosen, faults);
  if (!slower.empty()) throw ExpectationError(slower);
}
#else
void run_on_gpu(const Session&, Device device) {
  throw DeviceError("--device " + device.str() + ": this build of tern has no CUDA");
}
#endif

Session prepare(const Arguments& arguments) {
  std::vector<Axis> axes;
  for (const std::string& text : arguments.axes) {
    axes.push_back(parse_axis(text));
    for (size_t i = 0; i + 1 < axes.size(); ++i)
      if (axes[i].name == axes.back().name) throw ConfigError("--axis " + axes[i].name + " is there twice");
    if (axes.back().name == "threads" && arguments.threads != 0) throw ConfigError("--axis threads and --threads say the same: give one");
  }
  Session session{.arguments = arguments, .chosen = choose_rows(arguments.filter, axes, arguments.threads), .before = {}, .compare = {}};
  session.compare.filter = arguments.filter;
  if (!arguments.fail_over.empty()) {
    if (arguments.compare.empty()) throw ConfigError("--fail-over needs --compare OLD.json");
    session.compare.fail_over = parse_percent(arguments.fail_over);
  }
  if (!arguments.compare.empty()) session.before = read_results(arguments.compare);
  return session;
}

void run(const Arguments& arguments) {
  Session session = prepare(arguments);
  if (arguments.list) {
    for (const Row& row : session.chosen) std::puts(row.name.c_str());
    return;
  }
  const Device device = bench::named_device(arguments.device);
  std::vector<std::string> words = library_words(arguments);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  session.add_fact("tern", std::string(version()) + " (" + std::string(git_revision()) + ")");
  if (device.kind == Device::Kind::cuda)
    run_on_gpu(session, device);
  else
    run_on_cpu(session);
}

std::optional<std::string> parse(int argc, char** argv, Arguments& arguments) {
  CLI::App app{"Times every kernel on its own, and every layer of cifar-cnn, lenet, resnet18 and airbench94 at its size, after "
               "checking their results",
               "bench"};
  app.add_flag("--list", arguments.list, "Print the names and exit");
  app.add_option("--filter", arguments.filter, "Only names in which this regular expression is found")->type_name("RE");
  app.add_option("--axis", arguments.axes, "Layers of networks at each of these batches (default: 128), or all on so many threads")
      ->type_name("batch=N,...|threads=N,...")
      ->allow_extra_args(false);
  app.add_option("--json", arguments.json, "Also write the results here, with the peaks of this run")->type_name("FILE");
  app.add_option("--compare", arguments.compare, "Show these results, of an earlier --json, beside the new ones")->type_name("OLD.json");
  app.add_option("--fail-over", arguments.fail_over, "With --compare: exit 6 where a row became slower by more, beyond the noise")
      ->type_name("N%");
  app.add_option("--device", arguments.device, "cpu, cuda or cuda:i")->capture_default_str();
  app.add_option("--dtype", arguments.dtype, "Of the floating inputs; on the CPU f32 only")
      ->check(CLI::IsMember({"f32", "tf32", "f16", "bf16"}))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--min-time", arguments.min_time, "Seconds a measurement runs at least")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--repeat", arguments.repeat, "Measurements of a row, on the CPU: their median is given, and their spread")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.footer("items/s counts elements of outputs (backward: of gradients), bytes/s what must be read and written at least.\n"
             "of_peak is the share of the FMA peak where a row counts flop/s, of the copy bandwidth elsewhere, both measured in\n"
             "this run on these threads. Rows that fit the caches may be over 1. A pass of a convolution counts 2*N*P*Q*K*R*S*C\n"
             "flops: taps on padding count, though they may be skipped, so that such a row may be over 1, too.\n"
             "spread is the range of the middle half of a row's measurements, as a share of their median. --compare calls a row\n"
             "slower where medians differ by more than --fail-over and these ranges do not overlap.\n"
             "Layers of networks have 128 pictures, 4 lanes of 32 (lenet: one lane); with --axis batch=N lanes of at most 32. Layers\n"
             "that are alike have one row; the column layers says how many.\n"
             "On a GPU: medians by events; rows of bytes have tensors of 64 MB at least (networks' layers: their own) and a cold L2,\n"
             "bytes are what every op of the row reads and writes once, of_copy is the share of a copy of as many bytes timed the\n"
             "same way, and of_peak_2_reads counts inputs twice, as BatchNorm must read those that exceed the cache.");
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
