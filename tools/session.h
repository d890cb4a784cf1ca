#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tools/cli.h"
#include "tools/join_group.h"
#include "tools/team.h"
#include "tools/trainer.h"

namespace tern {

/// Everything one training of a program needs besides its config.
struct SessionOptions {
  TrainerOptions trainer;
  bool fusion = true, graph = true, poison = false;
  std::filesystem::path folder = {};     ///< empty: nothing is written
  enum class Start { fresh, resume, resume_if_there } start = Start::fresh;
  std::optional<int> overfit_batches = {};
  bool dry_run = false;
  std::shared_ptr<Team> team = std::make_shared<Team>();
  std::span<const char* const> argv = {};
};

/// The trainer's options that command-line switches stand for.
TrainerOptions trainer_options(const TrainArgs& args);

/// Procedural data is made on the spot when a config asks for it by name; real data never is.
void make_synthetic_data(const DataConfig& config, Progress& progress);

/// Where a training goes and whether it goes on, from --out and --resume: sets folder, start, and `args.config` where the
/// run names it. Throws ConfigError where the two contradict each other.
void choose_folder(TrainArgs& args, SessionOptions& options);

/// The context that `config` asks for on `device`; precision "auto" in `config` is settled: it is part of what defines the run.
Context::Options context_options(Config& config, Device device);

/// Opens data, context and run folder, trains, and closes them again.
TrainerResult run_session(const Config& config, const SessionOptions& options, Progress& progress);

/// runs/NAME-STAMP for a config file; a number is added where that is taken.
std::filesystem::path new_run_folder(const std::string& config_file);
/// The newest folder runs/NAME-* that holds a run of this config file, or an empty path.
std::filesystem::path newest_run_folder(const std::string& config_file);

}  // namespace tern
