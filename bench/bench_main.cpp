// Kernel microbenchmarks: every row of tests/op_cases.h, forward and backward, checked before it is timed.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <regex>

#include "bench/arguments.h"
#include "bench/op_bench.h"
#include "bench/peaks.h"
#include "core/cpu_path.h"
#include "core/thread_pool.h"
#include "core/version.h"
#include "tools/exit_codes.h"

namespace tern::bench {
namespace {

using testing::OpCase;

struct Arguments {
  bool list = false;
  std::string filter = ".", json;
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

/// Throws Error naming every row whose kernels are wrong: a wrong kernel's speed means nothing.
void refuse_wrong_kernels(const std::vector<Entry>& chosen, int threads) {
  std::string faults;
  const OpCase* checked = nullptr;
  for (const Entry& entry : chosen) {
    if (entry.row == checked) continue;
    checked = entry.row;
    if (const auto fault = find_fault(*checked, threads)) faults += "\n  " + name_of(*checked) + ": " + *fault;
  }
  if (!faults.empty()) throw Error("wrong kernels are not timed:" + faults);
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

void run(const Arguments& arguments) {
  const std::vector<Entry> chosen = entries(arguments.filter);
  if (arguments.list) {
    for (const Entry& entry : chosen) std::puts(entry.name.c_str());
    return;
  }
  std::vector<std::string> words = library_words(arguments);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  refuse_wrong_kernels(chosen, arguments.threads);

  Context::Options options;
  options.threads = arguments.threads;
  ThreadPool pool(arguments.threads);
  const Peaks peaks = measure_peaks(pool);
  const auto fact = [](const char* key, const std::string& value) { benchmark::AddCustomContext(key, value); };
  fact("tern", std::string(version()) + " (" + std::string(git_revision()) + ")");
  fact("simd", cpu_path());
  fact("threads", std::to_string(pool.threads()));
  fact("peak FMA GFLOP/s", std::to_string(peaks.fma_gflops));
  fact("peak copy GB/s", std::to_string(peaks.copy_gbps));
  for (const Entry& entry : chosen)
    benchmark::RegisterBenchmark(entry.name.c_str(), [=](benchmark::State& state) { time_entry(state, entry, options, peaks); })
        ->MinTime(arguments.min_time)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  PlainNames<benchmark::ConsoleReporter> table(benchmark::ConsoleReporter::OO_Tabular);
  PlainNames<benchmark::JSONReporter> json;
  benchmark::RunSpecifiedBenchmarks(&table, arguments.json.empty() ? nullptr : &json);
  benchmark::Shutdown();
}

std::optional<std::string> parse(int argc, char** argv, Arguments& arguments) {
  CLI::App app{"Times every kernel on its own, forward and backward, after checking its results", "bench"};
  app.add_flag("--list", arguments.list, "Print the names and exit");
  app.add_option("--filter", arguments.filter, "Only names in which this regular expression is found")->type_name("RE");
  app.add_option("--json", arguments.json, "Also write the results here, with the peaks of this run")->type_name("FILE");
  app.add_option("--threads", arguments.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--min-time", arguments.min_time, "Seconds a benchmark runs at least")->check(CLI::PositiveNumber)->capture_default_str();
  app.footer("items/s counts elements of outputs (backward: of gradients), bytes/s what must be read and written at least.\n"
             "of_peak is the share of the FMA peak where a row counts flop/s, of the copy bandwidth elsewhere, both measured in\n"
             "this run on these threads. Rows that fit the caches may be over 1.");
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
