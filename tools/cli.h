#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "tools/cli_predict.h"
#include "tools/config.h"
#include "tools/progress.h"

/// The command lines of the programs as plain structs.
namespace tern {

/// What `--help` and `--version` ask for: print it to stdout and exit with 0.
struct CliText {
  std::string text;
};

/// Where the other processes of a training are, and what moves bytes between them.
enum class DistEngine { local /* there are none */, mpi, nccl };

/// `trainer CONFIG ...`
struct TrainArgs {
  std::string config;                 ///< "" only with `resume` naming a run, whose own config then counts
  std::vector<Override> overrides;    ///< --set, --seed, --epochs N, --device, --precision, --threads, in this order
  std::string out;                    ///< --out, "" where absent
  std::optional<std::string> resume;  ///< a run, or "auto": the newest that fits
  std::string init_from;
  std::vector<int> epochs;      ///< of `--epochs A..B` or a list: the experiment loop; else empty
  std::vector<uint64_t> seeds;  ///< of `--seeds A..B`; else empty
  bool fold = true, plan = true, fusion = true, planner = true, graph = true;  ///< false: --no-fold ...
  std::optional<int> profile;  ///< --profile: so many steps
  bool poison = false;  ///< --poison: NaN in memory before its first and after its last use
  bool dry_run = false;
  std::optional<int> overfit_batches;
  std::optional<double> max_seconds;  ///< --max-time
  std::optional<double> expect_acc;   ///< 0..1
  ProgressStyle progress = ProgressStyle::automatic;
  DistEngine dist = DistEngine::local;
  std::optional<std::string> dashboard;  ///< HOST:PORT
  bool print_config = false, print_schema = false;
};

/// `trainer data fetch NAME` and `trainer data synth`
struct DataArgs {
  enum class Action { fetch, synth } action = Action::fetch;
  std::string name;  ///< fetch: cifar10 or cifar100
  std::string dir = "data";
  std::string url;                     ///< fetch: another place to load the archive from
  int64_t train = 10000, test = 2000;  ///< synth: pictures
  uint64_t seed = 1;                   ///< synth
};

/// `trainer verify-resume CONFIG`
struct VerifyResumeArgs {
  std::optional<int64_t> stop_after;  ///< --stop-after STEPS; default: two thirds of the first epoch
  TrainArgs train;  ///< config, overrides, out, stages and progress only
};

/// `trainer keygen FILE`
struct KeygenArgs {
  std::string file;
};

/// `trainer report RUN...`
struct ReportArgs {
  std::vector<std::string> runs;  ///< run folders, or folders of experiments
  std::string out;                ///< "" for the usual place
  std::optional<double> target;   ///< accuracy that the time is taken to, 0..1
};

/// `trainer summary CONFIG|RUN`
struct SummaryArgs {
  TrainArgs train;  ///< config and overrides only
  bool probe = true;  ///< time three steps
  bool json = false;
};

/// `trainer export CHECKPOINT --onnx FILE`
struct ExportArgs {
  std::string checkpoint;
  std::string onnx;
  std::string model;  ///< the network of bare weights: preset or config file
};

/// `trainer lr-find CONFIG`
struct LrFindArgs {
  TrainArgs train;  ///< config, overrides and progress only
  double min_lr = 1e-7, max_lr = 10;
  int steps = 100;
  std::string out;  ///< FILE.svg, "" for none; the CSV goes beside it
};

/// `trainer doctor [CONFIG]`
struct DoctorArgs {
  std::string config;  ///< whose data are looked for, "" for CIFAR-10 in `data`
  std::string data;    ///< another folder than the config's, "" for that
  bool json = false;
};

/// Commands that look at something and train nothing that stays.
using InspectCommand = std::variant<SummaryArgs, ExportArgs, LrFindArgs, DoctorArgs>;

using TrainerCommand = std::variant<TrainArgs, DataArgs, VerifyResumeArgs, KeygenArgs, ReportArgs, InspectCommand, PredictArgs, CliText>;

struct EvaluateArgs {
  std::vector<std::string> checkpoints;
  std::string data;          ///< folder, "" for the run's own
  bool train_split = false;  ///< --split train
  bool per_class = false;
  std::string confusion;    ///< CSV file, "" for none
  std::string predictions;  ///< CSV file, "" for none
  int worst = 0;          ///< how many mistakes to list
  bool compare = false;
  TtaName tta = TtaName::none;
  bool json = false;
  std::string model;  ///< preset or config file, for bare weights
  std::string device = "auto";
  int threads = 0;
  int batch = 500;
};

using EvaluateCommand = std::variant<EvaluateArgs, CliText>;

/// Parse argv (with the program's name in front). Throw ConfigError (exit code 2), naming the argument, what it takes
/// and the nearest known one.
TrainerCommand parse_trainer(std::span<const char* const> argv);
EvaluateCommand parse_evaluate(std::span<const char* const> argv);

/// `1..4` -> 1 2 3 4; `1,10,20` -> those; `7` -> 7. Throws ConfigError naming `option` where it is none of these, runs
/// backwards, or holds more than 10,000.
std::vector<uint64_t> parse_counts(const std::string& text, const std::string& option);

/// Seconds of `90`, `90s`, `30m`, `2h`, `1h30m`, `1d`. Throws ConfigError naming `option`.
double parse_duration(const std::string& text, const std::string& option);

}  // namespace tern
