#include "tools/experiments.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/atomic_file.h"
#include "core/error.h"
#include "tools/csv.h"
#include "tools/environment.h"
#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/report_compare.h"
#include "tools/run_folder.h"

namespace tern {
namespace {

struct Row {
  std::string label;
  Config config;
  std::optional<RunSummary> summary;
  double seconds = 0;
  int64_t peak = 0;
  std::string error;
};

std::string cell(const std::optional<double>& value) { return value ? format("%.9g", *value) : ""; }

std::string table_of(const std::vector<Row>& rows) {
  std::string text = "epochs,seed,seconds,seconds_per_epoch,accuracy,best_accuracy,peak_memory,error\n";
  for (const Row& row : rows) {
    std::optional<double> last, best, per_epoch;
    if (row.summary) {
      last = row.summary->last_acc;
      best = row.summary->best_acc;
      if (row.summary->epochs > 0) per_epoch = row.seconds / static_cast<double>(row.summary->epochs);
    }
    text += std::to_string(row.config.train.epochs) + "," + std::to_string(row.config.run.seed) + "," + cell(row.seconds) + "," + cell(per_epoch) +
            "," + cell(last) + "," + cell(best) + "," + std::to_string(row.peak) + "," + csv_field(row.error) + "\n";
  }
  return text;
}

std::vector<Row> plan_rows(const TrainArgs& args, const Config& config) {
  std::vector<Row> rows;
  auto add = [&](const std::string& label, int epochs, uint64_t seed) {
    Row row{.label = label, .config = config, .summary = {}, .error = {}};
    row.config.train.epochs = epochs;
    row.config.run.seed = seed;
    rows.push_back(std::move(row));
  };
  for (int epochs : args.epochs) {
    const std::string label = format("epochs-%03d", epochs);
    if (args.seeds.empty()) add(label, epochs, config.run.seed);
    for (uint64_t seed : args.seeds) add(label + "-seed-" + std::to_string(seed), epochs, seed);
  }
  if (args.epochs.empty())
    for (uint64_t seed : args.seeds) add("seed-" + std::to_string(seed), config.train.epochs, seed);
  return rows;
}

/// Two-sided 97.5 % quantile of Student's t. Ref: Abramowitz, Stegun (1964), table 26.10.
double student_quantile(int64_t freedom) {
  constexpr double table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                              2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
  if (freedom <= 20) return table[std::max<int64_t>(freedom, 1) - 1];
  return 1.96 + 2.4 / static_cast<double>(freedom);
}

std::vector<double> accuracies_of(const std::vector<Row>& rows) {
  std::vector<double> accuracies;
  for (const Row& row : rows)
    if (row.summary && row.summary->last_acc) accuracies.push_back(*row.summary->last_acc);
  return accuracies;
}

/// --expect-acc of several trainings: the mean over seeds, the best over numbers of epochs.
void check_expectation(const TrainArgs& args, const std::vector<double>& accuracies) {
  if (!args.expect_acc || accuracies.empty()) return;
  const double got = args.seeds.empty() ? *std::ranges::max_element(accuracies) : sample_statistics(accuracies).mean;
  if (got >= *args.expect_acc) return;
  throw ExpectationError(format("%s test accuracy %.4f is below --expect-acc %.4f", args.seeds.empty() ? "best" : "mean", got, *args.expect_acc));
}

void print_statistics(const std::vector<double>& accuracies) {
  if (accuracies.empty()) return;
  const SampleStatistics s = sample_statistics(accuracies);
  std::printf("accuracy of %lld seeds: mean %.2f %%, deviation %.2f, 95 %% interval of the mean %.2f to %.2f %%\n",
              static_cast<long long>(s.count), 100 * s.mean, 100 * s.deviation, 100 * s.low, 100 * s.high);
}

}  // namespace

SampleStatistics sample_statistics(std::span<const double> values) {
  SampleStatistics s;
  s.count = static_cast<int64_t>(values.size());
  if (s.count == 0) return s;
  for (double v : values) s.mean += v / static_cast<double>(s.count);
  s.low = s.high = s.mean;
  if (s.count == 1) return s;
  double squares = 0;
  for (double v : values) squares += (v - s.mean) * (v - s.mean);
  s.deviation = std::sqrt(squares / static_cast<double>(s.count - 1));
  const double half = student_quantile(s.count - 1) * s.deviation / std::sqrt(static_cast<double>(s.count));
  s.low -= half;
  s.high += half;
  return s;
}

int run_experiments(const TrainArgs& args, const Config& config, const std::filesystem::path& folder,
                    std::span<const char* const> argv, Progress& progress) {
  std::vector<Row> rows = plan_rows(args, config);
  const bool begun = std::filesystem::exists(folder / "experiments.csv") ||
                     std::ranges::any_of(rows, [&](const Row& row) { return RunFolder::holds_run(folder / row.label); });
  if (begun && !args.resume)
    throw ConfigError(folder.string() + ": holds experiments already; continue them with --resume auto, or choose another --out");
  std::filesystem::create_directories(folder);
  int failed = 0, done = 0;
  for (Row& row : rows) {
    progress.message(row.label + " (" + std::to_string(++done) + " of " + std::to_string(rows.size()) + ")");
    SessionOptions options{.trainer = trainer_options(args), .fusion = args.fusion, .graph = args.graph, .poison = args.poison, .folder = folder / row.label,
                           .start = args.resume ? SessionOptions::Start::resume_if_there : SessionOptions::Start::fresh,
                           .overfit_batches = args.overfit_batches, .argv = argv};
    reset_peak_rss();
    try {
      const TrainerResult result = run_session(row.config, options, progress);
      row.summary = result.summary;
      row.seconds = result.summary.seconds;
      row.peak = peak_rss();
      if (result.signal) return 128 + result.signal;
    } catch (const std::exception& error) {
      row.error = error.what();
      progress.message(row.label + " failed and is passed over: " + row.error);
      ++failed;
    }
    write_file_atomically(folder / "experiments.csv", table_of(rows));
  }
  std::printf("%s", table_of(rows).c_str());
  const std::vector<double> accuracies = accuracies_of(rows);
  if (!args.seeds.empty()) print_statistics(accuracies);
  std::printf("%s\n", (folder / "experiments.csv").c_str());
  try {
    write_experiments_report(folder);
    std::printf("%s\n", (folder / "report.html").c_str());
  } catch (const std::exception& error) {
    progress.message(std::string("warning: no report: ") + error.what());
  }
  check_expectation(args, accuracies);
  return failed == static_cast<int>(rows.size()) ? static_cast<int>(ExitCode::failure) : 0;
}

}  // namespace tern
