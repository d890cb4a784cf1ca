#pragma once
#include <memory>
#include <optional>
#include <string>

#include "tools/checkpoint.h"
#include "tools/data_run.h"
#include "tools/gpu_monitor.h"
#include "tools/profile.h"
#include "tools/progress.h"
#include "tools/run_folder.h"
#include "tools/team.h"
#include "tools/training_step.h"

namespace tern {

struct TrainerOptions {
  StepSwitches switches;
  std::optional<double> max_seconds;
  LaneEngine* engine = nullptr;    ///< computes the lanes of steps; null: this process
  bool one_step_an_epoch = false;  ///< mode epoch of a server: all lanes of an epoch make one step
  std::optional<dist::LaneRange> lanes_here = {};        ///< what the loader reads; nothing: all lanes
  std::shared_ptr<Team> team = std::make_shared<Team>();  ///< the processes that train alike; ranks other than 0 write nothing
  bool overfit = false;            ///< no augmentation: the same few pictures again and again
  std::shared_ptr<Profile> profile = {};  ///< of some of its steps; null: none
  std::string init_from;           ///< weights to start with, or ""
  std::optional<int64_t> stop_after_steps;  ///< as if SIGTERM came then: verify-resume
};

/// How a training ended.
struct TrainerResult {
  RunSummary summary;
  std::optional<Evaluation> evaluation;  ///< the last one on the test pictures
  int signal = 0;                        ///< that interrupted it; a checkpoint is saved
  bool complete = false;
};

/// Trains a network as its config says: epochs of steps, an evaluation after each, metrics, checkpoints.
/// Everything that decides the result comes from the config and, when resumed, from the checkpoint (D5).
class Trainer {
 public:
  /// Throws ConfigError when config, network and data do not fit each other.
  Trainer(Context& context, const Config& config, data::RunData data, TrainerOptions options, Progress& progress);
  /// Where logs and checkpoints go; without a folder (a dry run) nothing is written. It must outlive the training.
  void write_to(RunFolder& folder);

  /// Goes on from the newest whole checkpoint of the folder. Returns false when there is none.
  bool resume();
  /// Throws DivergedError when `train.nonfinite` says stop; the checkpoints are then those from before.
  TrainerResult run();
  /// One step and one evaluation of a batch, to see that everything fits.
  void dry_run();

  TrainingStep& training() { return training_; }

 private:
  bool train_epoch(TrainerResult& result);
  bool take_step(const data::Batch& batch);
  void finish_epoch(TrainerResult& result);
  Evaluation evaluate_on(const data::DatasetPtr& data, const std::string& name);
  /// Whether the epoch is the best so far.
  bool track_gain(const EpochMetrics& metrics);
  /// Why training ends before its last epoch by train.early_stop, or "".
  std::string early_stop_reason() const;
  void count_outcomes(bool all);
  void handle_nonfinite(const StepOutcome& outcome);
  [[noreturn]] void diverge(const std::string& what);
  void save(bool best);
  bool resumable() const { return !options_.engine || options_.engine->resumable(); }
  void load_plans();
  void save_plans();
  StopRequest stop_request();
  bool interrupted(TrainerResult& result);
  std::optional<SafetensorsFile> newest_checkpoint(std::string& bytes);
  void check_in_step();
  void show_first_pictures();
  void report_step(const StepOutcome& outcome);
  void warn_of_full_disk();
  void say(const std::string& text);
  double elapsed() const;
  bool out_of_time() const;

  Context& context_;
  Config config_;
  data::RunData data_;
  TrainerOptions options_;
  Team& team_;
  RunFolder* folder_ = nullptr;
  Progress& progress_;
  data::Loader loader_;
  TrainingStep training_;
  std::optional<CheckpointFolder> checkpoints_;
  TrainingPosition position_;
  double started_ = 0, seconds_before_ = 0, epoch_started_ = 0, wait_before_ = 0;
  int64_t steps_this_process_ = 0, pictures_this_epoch_ = 0;
  int64_t saved_at_ = -1;
  GpuMonitor gpu_;
  size_t plans_saved_ = 0;
};

}  // namespace tern
