#include "tools/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "tools/csv.h"
#include "tools/environment.h"
#include "tools/format.h"
#include "tools/json_text.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kMetricsHeader =
    "epoch,step,train_loss,train_acc,test_loss,test_acc,lr,seconds,images_per_s,data_wait,peak_rss,gpu_util,gpu_mem,val_loss,val_acc";
constexpr const char* kTimingHeader = "epoch,data,forward,backward,optimizer,eval";

std::string number(double value, int digits = 9) { return format("%.*g", digits, value); }
std::string number(const std::optional<double>& value) { return value ? number(*value) : ""; }

/// JSON has no NaN and no infinity: null.
ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

/// Rewrites a file with the lines that `keep`.
template <class Keep>
void filter_lines(const fs::path& path, const Keep& keep) {
  std::ifstream in(path);
  if (!in) return;
  std::string kept;
  bool dropped = false;
  for (std::string line; std::getline(in, line);) {
    // A line that a kill cut off has no newline; it is dropped like one from the future.
    const bool whole = !in.eof();
    if (whole && keep(line))
      kept += line + "\n";
    else
      dropped = true;
  }
  in.close();
  if (dropped) write_file_atomically(path, kept);
}

}  // namespace

bool RunFolder::holds_run(const fs::path& folder) { return fs::exists(folder / "config.json"); }

RunFolder::RunFolder(fs::path path, const Config& config) : path_(std::move(path)), log_config_(config.log) {
  lock_ = ::open((path_ / "log.txt").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (lock_ < 0) throw Error(path_.string() + ": log.txt cannot be written");
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    throw ConfigError(path_.string() + ": another process is training in this run folder");
  }
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), log_config_(other.log_config_), metrics_(std::move(other.metrics_)),
      timing_(std::move(other.timing_)), steps_(std::move(other.steps_)), events_(std::move(other.events_)), full_(std::move(other.full_)),
      warning_(std::move(other.warning_)), log_(std::move(other.log_)),
      lock_(std::exchange(other.lock_, -1)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

RunFolder RunFolder::create(const fs::path& folder, const Config& config, const std::string& environment) {
  if (holds_run(folder))
    throw ConfigError(folder.string() + ": holds a run already; continue it with --resume, or choose another --out");
  std::error_code error;
  fs::create_directories(folder / "checkpoints", error);
  if (error) throw Error(folder.string() + ": cannot be made: " + error.message());
  RunFolder run(folder, config);
  write_file_atomically(folder / "env.json", environment);
  run.open_streams(config);
  write_file_atomically(folder / "config.json", config_json(config));  // last: it is what makes the folder a run
  return run;
}

RunFolder RunFolder::open(const fs::path& folder, const Config& config, const std::string& environment) {
  if (!holds_run(folder)) throw ConfigError(folder.string() + ": holds no run (no config.json)");
  RunFolder run(folder, config);
  write_file_atomically(folder / "env.json", environment);
  run.open_streams(config);
  return run;
}

void RunFolder::open_streams(const Config& config) {
  const auto csv = [&](const char* name, const std::string& header) {
    AppendFile file(path_ / name);
    if (file.size() == 0 && !file.append(header + "\n")) throw Error((path_ / name).string() + ": cannot be written: is the disk full?");
    return file;
  };
  if (log_config_.csv) {
    metrics_ = csv("metrics.csv", kMetricsHeader);
    timing_ = csv("timing.csv", kTimingHeader);
  }
  if (log_config_.jsonl) steps_ = AppendFile(path_ / "steps.jsonl");
  open_events(config);
  log_ = std::make_shared<spdlog::logger>("run", std::make_shared<spdlog::sinks::basic_file_sink_st>((path_ / "log.txt").string()));
  log_->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%SZ %v", spdlog::pattern_time_type::utc));
  log_->flush_on(spdlog::level::info);
  log_->set_error_handler([](const std::string&) {});  // a full disk must not cost the training its console
}

void RunFolder::rewind(const Config& config, int64_t epoch, int64_t step) {
  write_file_atomically(path_ / "config.json", config_json(config));
  metrics_.close();
  timing_.close();
  steps_.close();
  auto keeps_epoch = [epoch](const std::string& line) { return line.starts_with("epoch") || std::atoll(line.c_str()) <= epoch; };
  filter_lines(path_ / "metrics.csv", keeps_epoch);
  filter_lines(path_ / "timing.csv", keeps_epoch);
  filter_lines(path_ / "steps.jsonl", [step](const std::string& line) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    return object.is_object() && object.value("step", int64_t{0}) <= step;
  });
  rewind_events(step);
  open_streams(config);
  if (events_) events_->restarted(step + 1);
}

void RunFolder::add(const EpochMetrics& m, const EpochTiming& t) {
  add_events(m, t);
  if (!log_config_.csv) return;
  std::ostringstream row, times;
  row << m.epoch << ',' << m.step << ',' << number(m.train_loss) << ',' << number(m.train_acc) << ',' << number(m.test_loss) << ','
      << number(m.test_acc) << ',' << number(m.lr) << ',' << number(m.seconds, 6) << ',' << number(m.images_per_s, 6) << ','
      << number(m.data_wait, 4) << ',' << m.peak_rss << ',' << number(m.gpu_util) << ',' << (m.gpu_mem ? std::to_string(*m.gpu_mem) : "")
      << ',' << number(m.val_loss) << ',' << number(m.val_acc) << '\n';
  times << t.epoch << ',' << number(t.data, 6) << ',' << number(t.forward, 6) << ',' << number(t.backward, 6) << ','
        << number(t.optimizer, 6) << ',' << number(t.eval, 6) << '\n';
  wrote("metrics.csv", metrics_.append(row.str()));
  wrote("timing.csv", timing_.append(times.str()));
}

void RunFolder::add(const StepRecord& s) {
  add_events(s);
  if (!log_config_.jsonl) return;
  ordered_json line = {{"epoch", s.epoch}, {"step", s.step}, {"loss", finite(s.loss)}, {"accuracy", s.accuracy},
                       {"lr", s.lr}, {"grad_norm", finite(s.grad_norm)}, {"images_per_s", s.images_per_s}};
  if (s.skipped) line["skipped"] = true;
  wrote("steps.jsonl", steps_.append(json_text(line) + "\n"));
}

void RunFolder::wrote(const std::string& what, bool whole) {
  if (whole)
    full_.erase(what);
  else if (full_.insert(what).second)
    warning_ += (warning_.empty() ? "" : ", ") + what;
}

std::string RunFolder::take_warning() {
  const std::string what = std::exchange(warning_, "");
  return what.empty() ? "" : "warning: " + what + " cannot be written: is the disk full? Training goes on; what it logs is lost until there is room";
}

void RunFolder::log(const std::string& line) { log_->info("{}", line); }

double RunFolder::seconds_so_far() const {
  const auto summary = nlohmann::json::parse(std::ifstream(path_ / "summary.json"), nullptr, false);
  const double told = summary.is_object() && summary.contains("seconds") && summary["seconds"].is_number() ? summary["seconds"].get<double>() : 0;
  std::ifstream in(path_ / "metrics.csv");
  double sum = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream row(line);
    std::string cell;
    for (int i = 0; i < 8 && std::getline(row, cell, ','); ++i) {
    }
    sum += std::atof(cell.c_str());  // the header gives 0
  }
  return std::max(told, sum);
}

std::string evaluation_json(const Evaluation& e, const std::string& split) {
  const auto n = static_cast<int64_t>(e.predictions.size());
  const Interval interval = wilson_interval(e.top1, n);
  ordered_json classes = ordered_json::array();
  for (const ClassScore& c : class_scores(e))
    classes.push_back({{"class", c.name}, {"pictures", c.pictures}, {"correct", c.correct}, {"recall", c.recall()}, {"precision", c.precision()}});
  const ordered_json object = {{"split", split}, {"pictures", n}, {"loss", finite(e.loss)}, {"top1", e.top1}, {"top5", e.top5},
                               {"top1_interval95", {interval.low, interval.high}}, {"seconds", e.seconds},
                               {"per_class", classes}, {"confusion", e.confusion()}};
  return json_text(object, 2) + "\n";
}

void write_confusion_csv(const fs::path& path, const Evaluation& evaluation) {
  std::string text = "label";
  for (const std::string& name : evaluation.classes) text.append(",").append(csv_field(name));
  const auto matrix = evaluation.confusion();
  for (size_t label = 0; label < matrix.size(); ++label) {
    text.append("\n").append(csv_field(evaluation.classes[label]));
    for (int64_t count : matrix[label]) text.append(",").append(std::to_string(count));
  }
  write_file_atomically(path, text + "\n");
}

void write_per_class_csv(const fs::path& path, const Evaluation& evaluation) {
  std::string text = "class,pictures,correct,recall,precision\n";
  for (const ClassScore& c : class_scores(evaluation))
    text += csv_field(c.name) + "," + std::to_string(c.pictures) + "," + std::to_string(c.correct) + "," + number(c.recall()) + "," + number(c.precision()) + "\n";
  write_file_atomically(path, text);
}

void write_predictions_csv(const fs::path& path, const Evaluation& evaluation) {
  std::string text = "picture,label,predicted,probability,loss\n";
  for (size_t i = 0; i < evaluation.predictions.size(); ++i) {
    const Prediction& p = evaluation.predictions[i];
    const std::string predicted = p.predicted < 0 ? "not a number" : evaluation.classes[static_cast<size_t>(p.predicted)];
    text += std::to_string(i) + "," + csv_field(evaluation.classes[static_cast<size_t>(p.label)]) + "," + csv_field(predicted) + "," +
            number(p.probability) + "," + number(p.loss) + "\n";
  }
  write_file_atomically(path, text);
}

void RunFolder::write_evaluation(const Evaluation& evaluation, const std::string& split) {
  write_file_atomically(path_ / "eval.json", evaluation_json(evaluation, split));
  write_confusion_csv(path_ / "confusion.csv", evaluation);
  write_per_class_csv(path_ / "per_class.csv", evaluation);
  write_predictions_csv(path_ / "predictions.csv", evaluation);
}

void RunFolder::write_summary(const RunSummary& s) {
  ordered_json object = {{"data", s.data}, {"epochs", s.epochs}, {"steps", s.steps}, {"seconds", std::round(1e3 * s.seconds) / 1e3},
                         {"best_acc", nullptr}, {"best_epoch", s.best_epoch}, {"last_acc", nullptr},
                         {"peak_rss", s.peak_rss}, {"peak_tensors", s.peak_tensors}};
  if (s.best_acc) object["best_acc"] = *s.best_acc;
  if (s.last_acc) object["last_acc"] = *s.last_acc;
  if (!s.stopped_by.empty()) object["stopped_by"] = s.stopped_by;
  write_file_atomically(path_ / "summary.json", json_text(object, 2) + "\n");
}

}  // namespace tern
