// trainer: trains a network as a config file says. The command line is in tools/cli.h.
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "dist/security.h"
#include "tools/cli.h"
#include "tools/dashboard.h"
#include "tools/data_fetch.h"
#include "tools/data_synthetic.h"
#include "tools/exit_codes.h"
#include "tools/experiments.h"
#include "tools/format.h"
#include "tools/inspect.h"
#include "tools/interrupt.h"
#include "tools/predict.h"
#include "tools/report.h"
#include "tools/verify_resume.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

/// The config, on every rank from its own file; where a run folder names none, rank 0's.
Config read_config(const TrainArgs& args, Team& team) {
  if (team.value_from_leader(args.config.ends_with("/config.json") && args.resume.has_value())) {
    const std::string text = team.from_leader(team.leads() ? config_json(load_config(args.config, args.overrides)) : "");
    return parse_config(text, "rank 0's " + args.config, {});
  }
  return load_config(args.config, args.overrides);
}

int finish(const TrainerResult& result, const TrainArgs& args, const fs::path& folder, bool leads) {
  const RunSummary& s = result.summary;
  if (leads && result.evaluation)
    std::printf("test accuracy %.2f %% (loss %.4f) after %lld epochs\n", 100 * result.evaluation->top1, result.evaluation->loss,
                static_cast<long long>(s.epochs));
  if (leads) std::printf("%s\n", folder.c_str());
  if (result.signal) return 128 + result.signal;
  if (args.expect_acc) {
    if (!s.last_acc) throw ExpectationError("nothing was evaluated, --expect-acc wants an accuracy");
    if (*s.last_acc < *args.expect_acc) throw ExpectationError(format("test accuracy %.4f is below --expect-acc %.4f", *s.last_acc, *args.expect_acc));
  }
  return 0;
}

int train(TrainArgs args, std::span<const char* const> argv, const std::shared_ptr<Team>& team) {
  SessionOptions options{.trainer = trainer_options(args), .fusion = args.fusion, .graph = args.graph, .poison = args.poison, .overfit_batches = args.overfit_batches,
                         .dry_run = args.dry_run, .team = team, .argv = argv};
  const bool experiments = !args.epochs.empty() || !args.seeds.empty();
  if (!args.print_config && team->leads()) choose_folder(args, options);
  const Config config = read_config(args, *team);
  if (args.print_config) {
    std::printf("%s\n", config_json(config).c_str());
    return 0;
  }
  check_configs_alike(*team, config);
  std::optional<Dashboard> dashboard;
  std::unique_ptr<Progress> progress = make_progress(team->leads() ? args.progress : ProgressStyle::none);
  for (const std::string& note : config_notes(config)) progress->message("note: " + note);
  const InterruptGuard guard;
  if (args.dashboard && !args.dry_run && team->leads()) {
    dashboard.emplace(dist::parse_address(*args.dashboard, "--dashboard"), options.folder);
    std::fprintf(stderr, "dashboard: %s\n", dashboard->url().c_str());  // with its token, which stands nowhere else
    progress = dashboard->watch(std::move(progress));
  }
  if (experiments) return run_experiments(args, config, options.folder, argv, *progress);
  if (args.profile && team->leads()) options.trainer.profile = std::make_shared<Profile>(*args.profile);
  if (args.dry_run) {
    options.folder.clear();
    run_session(config, options, *progress);
    if (team->leads()) std::printf("dry run: one step and an evaluation passed\n");
    return 0;
  }
  const TrainerResult result = run_session(config, options, *progress);
  if (options.trainer.profile) std::fputs(options.trainer.profile->table().c_str(), stdout);
  return finish(result, args, options.folder, team->leads());
}

int run(const TrainArgs& args, std::span<const char* const> argv) {
  if (args.print_schema) {
    std::printf("%s\n", config_schema().c_str());
    return 0;
  }
  if (args.dist == DistEngine::local || args.print_config) return train(args, argv, std::make_shared<Team>());
  const std::unique_ptr<dist::Group> group = join_group(args.dist);
  const auto team = std::make_shared<Team>(*group);
  try {
    check_launcher(*team);
    return train(args, argv, team);
  } catch (const std::exception& error) {
    return team->fail(error, "trainer");
  }
}

int run(const VerifyResumeArgs& args, std::span<const char* const> argv) {
  const Config config = load_config(args.train.config, args.train.overrides);
  const std::unique_ptr<Progress> progress = make_progress(args.train.progress);
  const InterruptGuard guard;
  return verify_resume(args, config, argv, *progress);
}

int run(const DataArgs& args, std::span<const char* const>) {
  const std::unique_ptr<Progress> progress = make_progress(ProgressStyle::automatic);
  if (args.action == DataArgs::Action::synth) {
    std::printf("%s\n", data::write_synthetic(args.dir, {.train = args.train, .test = args.test, .seed = args.seed}).c_str());
    return 0;
  }
  const data::CifarFormat& format = data::cifar_format(args.name);
  data::FetchOptions options{.url = args.url, .sha256 = {}, .progress = {}};
  const InterruptGuard guard;
  options.progress = [&](int64_t have, int64_t total) {
    progress->task("fetching " + args.name + " (bytes)", have, total);
    return InterruptGuard::signal() == 0;
  };
  data::FetchOutcome outcome;
  try {
    outcome = data::fetch(format, args.dir, options);
  } catch (const data::FetchError& error) {
    if (InterruptGuard::signal() == 0) throw;
    std::fprintf(stderr, "trainer: %s\n", error.what());
    return 128 + InterruptGuard::signal();
  }
  progress->finish();
  std::printf("%s %s\n", (fs::path(args.dir) / format.folder).c_str(),
              outcome == data::FetchOutcome::kAlreadyThere ? "was there already" : "is ready");
  return 0;
}

int run(const KeygenArgs& args, std::span<const char* const>) {
  dist::make_token(args.file);
  std::printf(
      "%s holds a new secret token; who has it may take part in a training.\n"
      "Copy it to every worker's machine over a channel that nobody reads (scp -p keeps its mode of 0600), then:\n"
      "  ps_server CONFIG.json --listen HOST:PORT --token-file %s\n"
      "  ps_worker --server HOST:PORT --token-file %s\n",
      args.file.c_str(), args.file.c_str(), args.file.c_str());
  return 0;
}

int run(const ReportArgs& args, std::span<const char* const>) { return run_report(args); }
int run(const InspectCommand& command, std::span<const char* const>) { return run_inspect(command); }
int run(const PredictArgs& args, std::span<const char* const>) {
  predict(args);
  return 0;
}

int run(const CliText& text, std::span<const char* const>) {
  std::printf("%s", text.text.c_str());
  return 0;
}

}  // namespace
}  // namespace tern

int main(int argc, char** argv) {
  const std::span<const char* const> args(argv, static_cast<size_t>(argc));
  try {
    return std::visit([&](const auto& command) { return tern::run(command, args); }, tern::parse_trainer(args));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trainer: %s\n", error.what());
    return static_cast<int>(tern::exit_code_for(error));
  }
}
