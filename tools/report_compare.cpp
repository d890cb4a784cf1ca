#include "tools/report_compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "tools/csv.h"
#include "tools/experiments.h"
#include "tools/format.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/report_networks.h"
#include "tools/report_run.h"
#include "tools/run_folder.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kExperiments = "experiments.csv";

ordered_json or_null(const auto& value) { return value ? ordered_json(*value) : ordered_json(nullptr); }

std::optional<double> number_in(const ordered_json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number()) return std::nullopt;
  return object[key].get<double>();
}

double sum_of(const ordered_json& metrics, const char* column) {
  double sum = 0;
  if (metrics.contains(column))
    for (const ordered_json& value : metrics[column]) sum += value.is_number() ? value.get<double>() : 0;
  return sum;
}

std::optional<double> largest(const ordered_json& metrics, const char* column) {
  std::optional<double> most;
  if (metrics.contains(column))
    for (const ordered_json& value : metrics[column])
      if (value.is_number()) most = std::max(most.value_or(-INFINITY), value.get<double>());
  return most;
}

/// A folder's runs: itself, or those that its experiments.csv stands for.
std::vector<fs::path> runs_in(const fs::path& folder) {
  if (RunFolder::holds_run(folder)) return {folder};
  if (!fs::exists(folder / kExperiments))
    throw ConfigError(folder.string() + (fs::exists(folder) ? ": holds neither a run (config.json) nor experiments (experiments.csv)" : ": no such folder"));
  std::vector<fs::path> runs;
  for (const auto& entry : fs::directory_iterator(folder))
    if (RunFolder::holds_run(entry.path())) runs.push_back(entry.path());
  std::ranges::sort(runs);
  return runs;
}

/// The numbers by which runs are compared, beside `run`'s curves.
ordered_json row_of(const ordered_json& run, const std::optional<double>& target) {
  const ordered_json& metrics = run["metrics"];
  const int64_t epochs = metrics.contains("epoch") ? std::ssize(metrics["epoch"]) : 0;
  const double seconds = sum_of(metrics, "seconds");
  const std::optional<double> gpu = largest(metrics, "gpu_mem");
  ordered_json row = {{"accuracy", or_null(number_in(run["eval"], "top1"))}, {"interval", nullptr}, {"pictures", or_null(number_in(run["eval"], "pictures"))},
                      {"best", or_null(largest(metrics, "test_acc"))}, {"epochs", epochs}, {"seconds", seconds}, {"seconds_per_epoch", nullptr}, {"to_target", nullptr},
                      {"parameters", or_null(number_in(run["network"], "parameters"))}, {"peak_memory", or_null(gpu ? gpu : largest(metrics, "peak_rss"))}};
  if (run["eval"].is_object()) row["interval"] = run["eval"]["top1_interval95"];
  if (epochs > 0) row["seconds_per_epoch"] = seconds / static_cast<double>(epochs);
  if (target) row["to_target"] = or_null(seconds_to(metrics, *target));
  return row;
}

/// The largest whole per cent that every run with epochs has reached.
std::optional<double> common_target(const std::vector<ordered_json>& runs) {
  std::optional<double> target;
  for (const ordered_json& run : runs)
    if (const auto best = largest(run["metrics"], "test_acc")) target = std::min(target.value_or(1), *best);
  if (target) target = std::floor(*target * 100 + 1e-9) / 100;
  return target;
}

ordered_json pairs_json(const std::vector<std::optional<Evaluation>>& evaluations) {
  ordered_json pairs = ordered_json::array();
  for (size_t a = 0; a < evaluations.size(); ++a)
    for (size_t b = a + 1; b < evaluations.size(); ++b) {
      ordered_json pair = {{"first", a}, {"second", b}};
      if (!evaluations[a] || !evaluations[b]) {
        pair["why_not"] = "no predictions.csv";
      } else if (!same_pictures(*evaluations[a], *evaluations[b])) {
        pair["why_not"] = "other test pictures";
      } else {
        const McNemar test = mcnemar(*evaluations[a], *evaluations[b]);
        pair.update({{"only_first", test.only_first}, {"only_second", test.only_second}, {"p_value", test.p_value}});
      }
      pairs.push_back(std::move(pair));
    }
  return pairs;
}

/// Names by which runs are told apart: the folder's, with its parent's where two are alike.
void tell_apart(std::vector<ordered_json>& runs, const std::vector<fs::path>& folders) {
  std::multiset<std::string> names;
  for (const ordered_json& run : runs) names.insert(run["name"].get<std::string>());
  for (size_t i = 0; i < runs.size(); ++i)
    if (names.count(runs[i]["name"].get<std::string>()) > 1)
      runs[i]["name"] = fs::absolute(folders[i]).lexically_normal().parent_path().filename().string() + "/" + runs[i]["name"].get<std::string>();
}

ordered_json comparison_json(const std::vector<std::string>& arguments, std::optional<double> target) {
  std::vector<fs::path> folders;
  ordered_json experiments = ordered_json::array();
  for (const std::string& argument : arguments) {
    for (const fs::path& folder : runs_in(argument)) folders.push_back(folder);
    if (!RunFolder::holds_run(argument)) experiments.push_back(experiments_json(argument));
  }
  std::vector<ordered_json> runs;
  std::vector<std::optional<Evaluation>> evaluations;
  for (const fs::path& folder : folders) {
    runs.push_back(run_json(folder));
    runs.back()["facts"] = network_facts(runs.back()["network"], load_config((folder / "config.json").string()));
    evaluations.push_back(read_predictions(folder));
  }
  tell_apart(runs, folders);
  if (!target) target = common_target(runs);
  for (ordered_json& run : runs) {
    run["row"] = row_of(run, target);
    run.erase("steps");
  }
  return {{"kind", "compare"}, {"target", or_null(target)}, {"runs", runs}, {"facts", network_fact_titles()}, {"pairs", pairs_json(evaluations)}, {"experiments", experiments}};
}

std::string cell(const char* pattern, const ordered_json& value, double scale = 1) {
  return value.is_number() ? format(pattern, value.get<double>() * scale) : "-";
}

void print_runs(const ordered_json& page) {
  size_t width = 3;
  for (const ordered_json& run : page["runs"]) width = std::max(width, run["name"].get<std::string>().size());
  const int name = static_cast<int>(width);
  const std::string reach = "to " + cell("%.0f", page["target"], 100) + " %";
  std::printf("%-*s %9s %15s %7s %10s %10s %10s %12s %10s\n", name, "run", "accuracy", "95 % interval", "epochs", "seconds", "s/epoch", reach.c_str(), "parameters", "peak MiB");
  for (const ordered_json& run : page["runs"]) {
    const ordered_json& row = run["row"];
    const std::string interval = row["interval"].is_array() ? cell("%.2f", row["interval"][0], 100) + " - " + cell("%.2f", row["interval"][1], 100) : "-";
    std::printf("%-*s %9s %15s %7s %10s %10s %10s %12s %10s\n", name, run["name"].get<std::string>().c_str(), cell("%.2f %%", row["accuracy"], 100).c_str(), interval.c_str(),
                cell("%.0f", row["epochs"]).c_str(), cell("%.1f", row["seconds"]).c_str(), cell("%.2f", row["seconds_per_epoch"]).c_str(), cell("%.1f s", row["to_target"]).c_str(),
                cell("%.0f", row["parameters"]).c_str(), cell("%.1f", row["peak_memory"], 1.0 / (1 << 20)).c_str());
  }
}

void print_pairs(const ordered_json& page) {
  const auto name = [&](const ordered_json& index) { return page["runs"][index.get<size_t>()]["name"].get<std::string>(); };
  for (const ordered_json& pair : page["pairs"]) {
    if (pair.contains("why_not")) {
      std::printf("%s against %s: not compared (%s)\n", name(pair["first"]).c_str(), name(pair["second"]).c_str(), pair["why_not"].get<std::string>().c_str());
    } else {
      std::printf("%s against %s: right alone %lld and %lld pictures; McNemar's p = %.3g\n", name(pair["first"]).c_str(), name(pair["second"]).c_str(),
                  pair["only_first"].get<long long>(), pair["only_second"].get<long long>(), pair["p_value"].get<double>());
    }
  }
}

void print_experiments(const ordered_json& page) {
  for (const ordered_json& e : page["experiments"]) {
    const std::string name = e["name"];
    if (e["fit"].is_object())
      std::printf("%s: time = %s s + %s s an epoch (R2 %s)\n", name.c_str(), cell("%.2f", e["fit"]["intercept"]).c_str(), cell("%.2f", e["fit"]["slope"]).c_str(), cell("%.4f", e["fit"]["r2"]).c_str());
    if (e["best"].is_object()) std::printf("%s: best accuracy %s after %s epochs\n", name.c_str(), cell("%.2f %%", e["best"]["accuracy"], 100).c_str(), cell("%.0f", e["best"]["epochs"]).c_str());
    if (e["statistics"].is_object())
      std::printf("%s: accuracy of %s seeds: mean %s, deviation %s, 95 %% interval of the mean %s to %s\n", name.c_str(), cell("%.0f", e["statistics"]["count"]).c_str(),
                  cell("%.2f %%", e["statistics"]["mean"], 100).c_str(), cell("%.2f", e["statistics"]["deviation"], 100).c_str(), cell("%.2f", e["statistics"]["low"], 100).c_str(),
                  cell("%.2f %%", e["statistics"]["high"], 100).c_str());
  }
}

}  // namespace

std::optional<LineFit> fit_line(std::span<const double> x, std::span<const double> y) {
  const auto n = static_cast<double>(x.size());
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mean_x += x[i] / n;
    mean_y += y[i] / n;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  if (!(xx > 0)) return std::nullopt;
  return LineFit{xy / xx, mean_y - xy / xx * mean_x, yy > 0 ? xy * xy / (xx * yy) : 1};
}

std::optional<double> seconds_to(const ordered_json& metrics, double target) {
  if (!metrics.contains("test_acc")) return std::nullopt;
  double seconds = 0;
  for (size_t i = 0; i < metrics["test_acc"].size(); ++i) {
    if (metrics["seconds"][i].is_number()) seconds += metrics["seconds"][i].get<double>();
    if (metrics["test_acc"][i].is_number() && metrics["test_acc"][i].get<double>() >= target) return seconds;
  }
  return std::nullopt;
}

ordered_json experiments_json(const fs::path& folder) {
  const CsvTable table = read_csv(folder / kExperiments);
  ordered_json rows = ordered_json::array(), best = nullptr;
  std::vector<double> epochs, seconds, accuracies;
  std::set<std::string> numbers_of_epochs;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    ordered_json row = ordered_json::object();
    for (const std::string& column : table.columns) row[column] = column == "error" ? ordered_json(table.text(i, column)) : or_null(table.number(i, column));
    numbers_of_epochs.insert(table.text(i, "epochs"));
    if (const auto accuracy = table.number(i, "accuracy")) {
      epochs.push_back(table.number(i, "epochs").value_or(0));
      seconds.push_back(table.number(i, "seconds").value_or(0));
      accuracies.push_back(*accuracy);
      if (best.is_null() || *accuracy > best["accuracy"].get<double>()) best = {{"epochs", epochs.back()}, {"accuracy", *accuracy}};
    }
    rows.push_back(std::move(row));
  }
  const bool over_epochs = numbers_of_epochs.size() > 1;
  ordered_json result = {{"name", fs::absolute(folder).lexically_normal().filename().string()}, {"over", over_epochs ? "epochs" : "seeds"}, {"rows", rows},
                         {"fit", nullptr}, {"best", over_epochs ? best : nullptr}, {"statistics", nullptr}};
  if (const auto fit = fit_line(epochs, seconds)) result["fit"] = {{"slope", fit->slope}, {"intercept", fit->intercept}, {"r2", fit->r2}};
  if (!over_epochs && !accuracies.empty()) {
    const SampleStatistics s = sample_statistics(accuracies);
    result["statistics"] = {{"count", s.count}, {"mean", s.mean}, {"deviation", s.deviation}, {"low", s.low}, {"high", s.high}};
  }
  return result;
}

int compare_runs(const ReportArgs& args) {
  const ordered_json page = comparison_json(args.runs, args.target);
  const fs::path out = !args.out.empty() ? fs::path(args.out) : args.runs.size() == 1 ? fs::path(args.runs[0]) / "report.html" : fs::path("comparison.html");
  write_file_atomically(out, report_page(page), {.durable = false});
  print_runs(page);
  if (!page["runs"].empty()) std::printf("\n%s\n", network_facts_text(page["runs"]).c_str());
  print_pairs(page);
  print_experiments(page);
  std::printf("%s\n", out.c_str());
  return 0;
}

void write_experiments_report(const fs::path& folder) {
  write_file_atomically(folder / "report.html", report_page(comparison_json({folder.string()}, std::nullopt)), {.durable = false});
}

}  // namespace tern
