#include "tools/session.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tools/data_cifar.h"
#include "tools/data_synthetic.h"
#include "tools/environment.h"
#include "tools/group_engine.h"
#include "tools/report.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

/// A folder's val/ is seen only now: a metric of it needs one.
void check_has_validation(const Config& config, const data::RunData& data) {
  const auto check = [&](Metric metric, const char* key) {
    if (!data.validation && (metric == Metric::val_loss || metric == Metric::val_acc))
      throw ConfigError(std::string(key) + ": got \"" + std::string(name_of(metric)) + "\", but there are no validation pictures: set data.val_fraction");
  };
  check(config.checkpoint.best, "checkpoint.best");
  if (config.train.early_stop) check(config.train.early_stop->metric, "train.early_stop.metric");
}

/// The run's data; `overfit` pictures of the training split alone serve for training and test.
data::RunData open_data(const Config& config, const std::optional<int>& overfit_batches, Progress& progress) {
  data::RunData data = data::open_run_data(config.data, config.run.seed, &progress);
  if (!overfit_batches) {
    check_has_validation(config, data);
    return data;
  }
  data.train = data::limit(data.train, int64_t{*overfit_batches} * config.train.lanes * config.train.micro_batch);
  data.test = data.train;
  data.validation = nullptr;
  return data;
}

/// A run is exact within one class of device; going on with another is allowed, but said.
void warn_of_other_device(const Context& context, const fs::path& folder, Progress& progress) {
  const auto before = nlohmann::json::parse(std::ifstream(folder / "env.json"), nullptr, false);
  if (!before.is_object()) return;
  const std::string was = before.value("device_class", ""), is = device_class(context.device());
  if (!was.empty() && was != is)
    progress.message("warning: the run began on " + was + " and goes on with " + is +
                     ": its bits will differ from those of a run on one kind of device");
}

std::string model_line(Trainer& trainer, const data::RunData& data) {
  int64_t parameters = 0;
  for (const Segment& segment : trainer.training().store().segments()) parameters += segment.numel;
  return std::to_string(parameters) + " parameters; " + std::to_string(data.train->size()) + " training and " +
         std::to_string(data.test->size()) + " test pictures of " + std::string(data.train->name());
}

}  // namespace

TrainerOptions trainer_options(const TrainArgs& args) {
  TrainerOptions options;
  options.switches = {.fold = args.fold, .plan = args.plan, .reuse_memory = args.planner};
  options.max_seconds = args.max_seconds;
  options.overfit = args.overfit_batches.has_value();
  options.init_from = args.init_from;
  return options;
}

void make_synthetic_data(const DataConfig& config, Progress& progress) {
  if (config.name != DataName::synthetic) return;
  try {
    data::open_dataset("synthetic", config.dir, data::Split::kTrain);
  } catch (const data::DataMissing&) {
    progress.message("making the synthetic pictures in " + (fs::path(config.dir) / "synthetic").string());
    data::write_synthetic(config.dir);
  }
}

void choose_folder(TrainArgs& args, SessionOptions& options) {
  options.folder = args.out;
  if (!args.resume) {
    if (options.folder.empty()) options.folder = new_run_folder(args.config);
    return;
  }
  if (*args.resume != "auto") {
    if (!args.out.empty() && fs::weakly_canonical(args.out) != fs::weakly_canonical(*args.resume))
      throw ConfigError("--resume " + *args.resume + " and --out " + args.out + " are different run folders");
    options.folder = *args.resume;
    if (args.config.empty()) args.config = (options.folder / "config.json").string();
    options.start = SessionOptions::Start::resume;
    return;
  }
  if (args.config.empty()) throw ConfigError("--resume auto wants a config file, whose newest run it goes on with");
  if (options.folder.empty()) options.folder = newest_run_folder(args.config);
  if (options.folder.empty()) options.folder = new_run_folder(args.config);
  options.start = SessionOptions::Start::resume_if_there;
}

Context::Options context_options(Config& config, Device device) {
  config.run.precision = resolve_precision(config.run.precision, device);
  Context::Options options;
  options.device = device;
  options.threads = config.run.threads;
  options.seed = config.run.seed;
  options.tf32 = config.run.precision == Precision::tf32;
  options.time_engines = config.run.time_engines;
  return options;
}

TrainerResult run_session(const Config& given, const SessionOptions& options, Progress& progress) {
  Team& team = *options.team;
  Config config = given;
  Context::Options on = context_options(config, choose_device(given.run, team));
  on.fusion = options.fusion;
  on.poison = options.poison;
  on.graph = options.graph;
  if (team.group()) on.time_engines = false;
  Context context(on);
  check_devices_alike(team, context.device());
  warn_of_other_builds(team, progress);

  team.in_turn([&] { make_synthetic_data(config.data, progress); });  // ranks of one machine share the folder
  const data::RunData data = open_data(config, options.overfit_batches, progress);
  check_pictures_alike(team, *data.train);

  // Before the folder: a run that cannot begin leaves nothing behind.
  TrainerOptions trainer_options = options.trainer;
  trainer_options.team = options.team;
  std::optional<GroupEngine> engine;
  if (team.group()) {
    engine.emplace(context, *team.group(), config.train.lanes, options.trainer.switches);
    trainer_options.engine = &*engine;
    trainer_options.lanes_here = engine->lanes_here();
  }
  Trainer trainer(context, config, data, trainer_options, progress);
  if (trainer_options.engine) trainer_options.engine->open(trainer.training().lanes(), data, options.folder);
  check_networks_alike(team, trainer.training().store());
  std::optional<RunFolder> folder;
  bool resume = false;
  if (!options.folder.empty() && team.leads()) {
    const std::string environment = environment_json(context, options.argv);
    using Start = SessionOptions::Start;
    resume = options.start == Start::resume || (options.start == Start::resume_if_there && RunFolder::holds_run(options.folder));
    if (resume) warn_of_other_device(context, options.folder, progress);
    folder.emplace(resume ? RunFolder::open(options.folder, config, environment) : RunFolder::create(options.folder, config, environment));
    trainer.write_to(*folder);
    if (options.trainer.engine) options.trainer.engine->folder_opened();
  }
  progress.message(model_line(trainer, data));
  if (team.size() > 1) progress.message(std::to_string(team.size()) + " ranks share " + std::to_string(config.train.lanes) + " lanes a step");
  if (folder) progress.message("run folder: " + folder->path().string());
  if (options.dry_run) {
    trainer.dry_run();
    return {};
  }
  resume = team.value_from_leader(resume);
  if (resume && !trainer.resume()) progress.message("no checkpoint to resume from: starting at the beginning");
  const auto report = [&](const TrainerResult* result) {
    if (!folder) return;
    try {
      if (result && result->evaluation) folder->write_mistakes(*result->evaluation, *data.test, result->summary.steps);
      write_report(options.folder, data.test);
      if (result) progress.message("report: " + (options.folder / "report.html").string());
    } catch (const std::exception& error) {
      progress.message(std::string("warning: no report: ") + error.what());  // the training itself is saved
    }
  };
  try {
    TrainerResult result = trainer.run();
    report(&result);
    return result;
  } catch (...) {
    report(nullptr);  // of what there is, with the curve that diverged
    throw;
  }
}

fs::path new_run_folder(const std::string& config_file) {
  const std::string base = fs::path(config_file).stem().string() + "-" + utc_stamp(true);
  fs::path folder = fs::path("runs") / base;
  for (int i = 2; fs::exists(folder); ++i) folder = fs::path("runs") / (base + "-" + std::to_string(i));
  return folder;
}

fs::path newest_run_folder(const std::string& config_file) {
  const std::string prefix = fs::path(config_file).stem().string() + "-";
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("runs", ignored)) {
    const std::string name = entry.path().filename().string();
    const bool stamped = name.starts_with(prefix) && name.size() > prefix.size() && std::isdigit(static_cast<unsigned char>(name[prefix.size()]));
    if (stamped && RunFolder::holds_run(entry.path())) found.push_back(entry.path());
  }
  return found.empty() ? fs::path() : *std::ranges::max_element(found);
}

}  // namespace tern
