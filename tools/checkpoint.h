#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/safetensors.h"
#include "tools/config.h"
#include "tools/data_set.h"
#include "tools/training_step.h"

namespace tern {

/// Where a training stands, besides its tensors: enough to go on as if it had never stopped. The random numbers have
/// no state (they are keyed), so seed, epoch and step are all there is to them and to the loader.
struct TrainingPosition {
  int64_t epoch = 0;          ///< being trained, from 0; epochs that are done
  int64_t step_in_epoch = 0;  ///< steps of it that are done
  int64_t steps = 0;          ///< of the whole run
  // The running epoch so far.
  double loss_sum = 0;
  int64_t correct = 0, pictures = 0;
  int64_t skipped_in_a_row = 0, skipped = 0;
  // The best epoch by checkpoint.best, for best.safetensors, and the best test accuracy; the one early stopping compares with.
  std::optional<double> best, best_acc;
  int64_t best_epoch = -1;
  std::optional<double> stop_best;
  int64_t epochs_without_gain = 0;
  bool operator==(const TrainingPosition&) const = default;
};

/// What a checkpoint says of its run, before any tensor is read.
struct CheckpointInfo {
  Config config;                     ///< what defines the run; the rest are defaults
  std::string data_name;             ///< "cifar10", "synthetic", ...
  std::vector<std::string> classes;
  data::PictureShape pictures;
  TrainingPosition position;
};

/// A checkpoint of a format that only a newer tern reads.
struct NewerCheckpointError : DataError {
  using DataError::DataError;
};

/// Tensor names in a checkpoint that are not the network's.
extern const std::vector<std::string> kTrainingTensors;

/// Writes one file with the weights, optimizer state, weight average, position and what defines the run: equal
/// trainings give equal bytes. Atomic and durable; on failure the old file is kept and Error is thrown.
void save_checkpoint(const std::filesystem::path& path, TrainingStep& training, const CheckpointInfo& info);

/// Throws DataError when the file is damaged or is no checkpoint of tern, NewerCheckpointError when it is of a newer
/// format (naming both versions).
CheckpointInfo read_checkpoint_info(const SafetensorsFile& file);

/// Restores weights, optimizer state and weight average. Throws ConfigError listing what differs when the checkpoint is
/// of another run than `config`, DataError when it is damaged.
TrainingPosition load_checkpoint(const SafetensorsFile& file, const Config& config, TrainingStep& training);

/// The folder runs/NAME/checkpoints: `last.safetensors`, `best.safetensors`, and the last `keep` of
/// `step-00001234.safetensors`, which last and best are hard links to (copies where the file system has no links).
class CheckpointFolder {
 public:
  CheckpointFolder(std::filesystem::path folder, int keep);

  /// Saves, links last (and best), removes what is too old. Throws Error; what was there stays.
  void save(TrainingStep& training, const CheckpointInfo& info, bool best);

  /// Points last (and best) at `file`, from which a training goes on: a kill between a save and its links leaves them
  /// behind, and nothing else mends that where the training had ended. Throws Error.
  void relink(const std::filesystem::path& file, bool best);

  /// The newest file that is whole, or nullopt when the folder has none at all. Damaged ones are reported through `warn`
  /// and passed over. Throws DataError when all are damaged, NewerCheckpointError at the first one of a newer format:
  /// going on from an older file, or from nothing, would overwrite what is there.
  std::optional<SafetensorsFile> newest_valid(const std::function<void(const std::string&)>& warn) const;

 private:
  std::vector<std::filesystem::path> numbered() const;  // newest first
  std::filesystem::path folder_;
  int keep_;
};

}  // namespace tern
