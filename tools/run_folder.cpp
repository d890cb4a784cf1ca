#include "tools/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "tools/csv.h"
#include "tools/environment.h"
#include "tools/json_text.h"
#include "tools/report_pictures.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kMetricsHeader =
    "epoch,step,train_loss,train_acc,test_loss,test_acc,lr,seconds,images_per_s,data_wait,peak_rss,gpu_util,gpu_mem,val_loss,val_acc";
constexpr const char* kTensorBoard = "tb";
constexpr const char* kTimingHeader = "epoch,data,forward,backward,optimizer,eval";

std::string number(double value, int digits = 9) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}
std::string number(const std::optional<double>& value) { return value ? number(*value) : ""; }

/// JSON has no NaN and no infinity: null.
ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

std::ofstream append_to(const fs::path& path) {
  std::ofstream stream(path, std::ios::app);
  if (!stream) throw Error(path.string() + ": cannot be written");
  return stream;
}

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
      timing_(std::move(other.timing_)), steps_(std::move(other.steps_)), events_(std::move(other.events_)), log_(std::move(other.log_)),
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
  auto csv = [&](const char* name, const char* header) {
    const fs::path path = path_ / name;
    const bool fresh = !fs::exists(path) || fs::file_size(path) == 0;
    std::ofstream stream = append_to(path);
    if (fresh) stream << header << std::endl;
    return stream;
  };
  if (log_config_.csv) {
    metrics_ = csv("metrics.csv", kMetricsHeader);
    timing_ = csv("timing.csv", kTimingHeader);
  }
  if (log_config_.jsonl) steps_ = append_to(path_ / "steps.jsonl");
  if (log_config_.tensorboard) {
    const bool fresh = !holds_events(path_ / kTensorBoard);
    events_.emplace(path_ / kTensorBoard);
    if (fresh) events_->text(0, "config", "```\n" + config_json(config) + "\n```");
  }
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
  events_.reset();
  rewind_events(path_ / kTensorBoard, step);
  open_streams(config);
}

void RunFolder::add(const EpochMetrics& m, const EpochTiming& t) {
  add_events(m, t);
  if (!log_config_.csv) return;
  metrics_.clear();  // a disk that was full may have room again
  timing_.clear();
  metrics_ << m.epoch << ',' << m.step << ',' << number(m.train_loss) << ',' << number(m.train_acc) << ',' << number(m.test_loss)
           << ',' << number(m.test_acc) << ',' << number(m.lr) << ',' << number(m.seconds, 6) << ',' << number(m.images_per_s, 6)
           << ',' << number(m.data_wait, 4) << ',' << m.peak_rss << ',' << number(m.gpu_util) << ','
           << (m.gpu_mem ? std::to_string(*m.gpu_mem) : "") << ',' << number(m.val_loss) << ',' << number(m.val_acc) << std::endl;
  timing_ << t.epoch << ',' << number(t.data, 6) << ',' << number(t.forward, 6) << ',' << number(t.backward, 6) << ','
          << number(t.optimizer, 6) << ',' << number(t.eval, 6) << std::endl;
  if (!metrics_ || !timing_) log("metrics could not be written: is the disk full?");
}

void RunFolder::add_events(const EpochMetrics& m, const EpochTiming& t) {
  if (!events_) return;
  std::vector<std::pair<std::string_view, double>> values{
      {"epoch", static_cast<double>(m.epoch)}, {"loss/train", m.train_loss}, {"loss/test", m.test_loss}, {"accuracy/train", m.train_acc}, {"accuracy/test", m.test_acc},
      {"lr", m.lr}, {"speed/seconds", m.seconds}, {"speed/images_per_s", m.images_per_s}, {"speed/data_wait", m.data_wait}, {"memory/peak_rss", static_cast<double>(m.peak_rss)},
      {"timing/data", t.data}, {"timing/forward", t.forward}, {"timing/backward", t.backward}, {"timing/optimizer", t.optimizer}, {"timing/eval", t.eval}};
  if (m.val_loss) values.emplace_back("loss/val", *m.val_loss);
  if (m.val_acc) values.emplace_back("accuracy/val", *m.val_acc);
  if (m.gpu_util) values.emplace_back("speed/gpu_util", *m.gpu_util);
  if (m.gpu_mem) values.emplace_back("memory/gpu_mem", static_cast<double>(*m.gpu_mem));
  events_->scalars(m.step, values);
  if (!events_->good()) log("TensorBoard's events could not be written: is the disk full?");
}

void RunFolder::write_mistakes(const Evaluation& evaluation, const data::Dataset& data, int64_t step) {
  if (!events_) return;
  constexpr int64_t kPictures = 16;
  constexpr int kLongest = 256;
  EventWriter events(path_ / kTensorBoard, ".mistakes");
  int place = 0;
  for (const int64_t i : worst_mistakes(evaluation, kPictures)) {
    const Prediction& p = evaluation.predictions[static_cast<size_t>(i)];
    const auto name = [&](int32_t label) { return label < 0 ? std::string("nothing") : evaluation.classes[static_cast<size_t>(label)]; };
    const std::string number = std::to_string(++place);
    events.image(step, "mistakes/" + std::string(number.size() < 2, '0') + number + " " + name(p.label) + " taken for " + name(p.predicted), shown_picture(data, i, kLongest));
  }
}

void RunFolder::add(const StepRecord& s) {
  if (events_)
    events_->scalars(s.step, {{"steps/loss", s.loss}, {"steps/accuracy", s.accuracy}, {"steps/lr", s.lr}, {"steps/grad_norm", s.grad_norm}, {"steps/images_per_s", s.images_per_s}});
  if (!log_config_.jsonl) return;
  ordered_json line = {{"epoch", s.epoch}, {"step", s.step}, {"loss", finite(s.loss)}, {"accuracy", s.accuracy},
                       {"lr", s.lr}, {"grad_norm", finite(s.grad_norm)}, {"images_per_s", s.images_per_s}};
  if (s.skipped) line["skipped"] = true;
  steps_.clear();
  steps_ << json_text(line) << std::endl;
}

void RunFolder::log(const std::string& line) { log_->info("{}", line); }

double RunFolder::seconds_so_far() const {
  std::ifstream in(path_ / "metrics.csv");
  double sum = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream row(line);
    std::string cell;
    for (int i = 0; i < 8 && std::getline(row, cell, ','); ++i) {
    }
    sum += std::atof(cell.c_str());  // the header gives 0
  }
  return sum;
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
  for (const std::string& name : evaluation.classes) text += "," + csv_field(name);
  const auto matrix = evaluation.confusion();
  for (size_t label = 0; label < matrix.size(); ++label) {
    text += "\n" + csv_field(evaluation.classes[label]);
    for (int64_t count : matrix[label]) text += "," + std::to_string(count);
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
  ordered_json object = {{"data", s.data}, {"epochs", s.epochs}, {"steps", s.steps}, {"seconds", s.seconds},
                         {"best_acc", nullptr}, {"best_epoch", s.best_epoch}, {"last_acc", nullptr},
                         {"peak_rss", s.peak_rss}, {"peak_tensors", s.peak_tensors}};
  if (s.best_acc) object["best_acc"] = *s.best_acc;
  if (s.last_acc) object["last_acc"] = *s.last_acc;
  if (!s.stopped_by.empty()) object["stopped_by"] = s.stopped_by;
  write_file_atomically(path_ / "summary.json", json_text(object, 2) + "\n");
}

}  // namespace tern
