#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tools/append_file.h"
#include "tools/config.h"
#include "tools/evaluation.h"
#include "tools/step_reader.h"
#include "tools/tensorboard.h"

namespace spdlog {
class logger;
}

namespace tern {

/// A row of metrics.csv: an epoch.
struct EpochMetrics {
  int64_t epoch = 0;  ///< from 1
  int64_t step = 0;   ///< optimizer steps so far
  double train_loss = 0, train_acc = 0, test_loss = 0, test_acc = 0;
  std::optional<double> val_loss = {}, val_acc = {};
  double lr = 0;
  double seconds = 0;       ///< of the epoch, evaluation included
  double images_per_s = 0;  ///< of training alone
  double data_wait = 0;     ///< share of the training time
  int64_t peak_rss = 0;     ///< bytes
  std::optional<double> gpu_util = {};  ///< share of the training time in which some kernel ran
  std::optional<int64_t> gpu_mem = {};  ///< bytes, largest
};

/// A row of timing.csv: seconds of an epoch by what they went to.
struct EpochTiming {
  int64_t epoch = 0;
  double data = 0, forward = 0, backward = 0, optimizer = 0, eval = 0;
};

/// A line of steps.jsonl.
struct StepRecord {
  int64_t epoch = 0, step = 0;
  double loss = 0, accuracy = 0, lr = 0, grad_norm = 0, images_per_s = 0;
  bool skipped = false;
};

/// summary.json
struct RunSummary {
  std::string data;
  int64_t epochs = 0, steps = 0;
  double seconds = 0;  ///< of all epochs, resumed ones included
  std::optional<double> best_acc, last_acc;
  int64_t best_epoch = 0;
  int64_t peak_rss = 0, peak_tensors = 0;
  std::string stopped_by;  ///< "" or why it ended early
};

/// A training's folder (docs/run-folder.md): config.json, env.json, log.txt, metrics.csv, timing.csv, steps.jsonl,
/// tb/, checkpoints/, eval.json, confusion.csv, per_class.csv, predictions.csv, summary.json. Rows reach the system as they are
/// added; one that finds no room on the disk is left out as a whole.
class RunFolder {
 public:
  /// Makes the folder. Throws ConfigError when it holds a run already, Error when it cannot be written.
  static RunFolder create(const std::filesystem::path& folder, const Config& config, const std::string& environment);
  /// Opens the folder of an interrupted run; a second process on it is refused.
  static RunFolder open(const std::filesystem::path& folder, const Config& config, const std::string& environment);
  /// Does the folder hold a run?
  static bool holds_run(const std::filesystem::path& folder);

  RunFolder(RunFolder&& other) noexcept;
  ~RunFolder();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }

  /// Goes back to a checkpoint: removes rows of epochs after `epoch` and steps after `step`, which are trained again, and
  /// writes config.json anew (data folder, threads and logs may have changed).
  void rewind(const Config& config, int64_t epoch, int64_t step);

  void add(const EpochMetrics& metrics, const EpochTiming& timing);
  void add(const StepRecord& step);
  void log(const std::string& line);
  /// A warning that names the logs which take no more rows since the last call; "" when there are none. Each is named once until it
  /// takes rows again.
  std::string take_warning();
  void write_evaluation(const Evaluation& evaluation, const std::string& split);
  /// The first pictures of a batch as the network gets them, augmented, as one picture for TensorBoard.
  void write_training_pictures(const data::Batch& batch, const data::PictureShape& shape, int64_t step);
  /// The worst mistakes as pictures for TensorBoard; `data` are the pictures that were evaluated.
  void write_mistakes(const Evaluation& evaluation, const data::Dataset& data, int64_t step);
  void write_summary(const RunSummary& summary);

  /// Sum of the column `seconds` of metrics.csv.
  double seconds_so_far() const;

 private:
  RunFolder(std::filesystem::path path, const Config& config);
  void open_streams(const Config& config);
  void open_events(const Config& config);
  void rewind_events(int64_t step);
  void add_events(const EpochMetrics& metrics, const EpochTiming& timing);
  void add_events(const StepRecord& step);
  void wrote(const std::string& what, bool whole);

  std::filesystem::path path_;
  LogConfig log_config_;
  AppendFile metrics_, timing_, steps_;
  std::optional<EventWriter> events_;
  std::set<std::string> full_;  // logs that took no more rows
  std::string warning_;
  std::shared_ptr<spdlog::logger> log_;
  int lock_ = -1;
};

/// confusion.csv: a row a class, columns the predictions; per_class.csv: class, pictures, correct, recall, precision;
/// predictions.csv: picture (its place in the data set, from 0), label, predicted, probability (of that), loss.
void write_confusion_csv(const std::filesystem::path& path, const Evaluation& evaluation);
void write_per_class_csv(const std::filesystem::path& path, const Evaluation& evaluation);
void write_predictions_csv(const std::filesystem::path& path, const Evaluation& evaluation);
/// eval.json, and what `evaluate --json` prints for one checkpoint.
std::string evaluation_json(const Evaluation& evaluation, const std::string& split);

}  // namespace tern
