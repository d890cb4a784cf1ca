// ps_server: the parameter server. It is the trainer with workers in the place of its own passes; the command line is in
// tools/cli_ps.h.
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "tools/cli_ps.h"
#include "tools/dashboard_ps.h"
#include "tools/exit_codes.h"
#include "tools/interrupt.h"
#include "tools/ps_shard.h"
#include "tools/session.h"

namespace tern {
namespace {

int run(const CliText& text, std::span<const char* const>) {
  std::printf("%s", text.text.c_str());
  return 0;
}

int run(ServerArgs args, std::span<const char* const> argv) {
  SessionOptions options{.trainer = trainer_options(args.train), .fusion = args.train.fusion, .graph = args.train.graph,
                         .poison = args.train.poison, .argv = argv};
  choose_folder(args.train, options);
  Config config = load_config(args.train.config, args.train.overrides);
  config.run.precision = resolve_precision(config.run.precision, choose_device(config.run));  // workers may have another device
  const std::unique_ptr<Progress> progress = make_progress(args.train.progress);
  for (const std::string& note : config_notes(config)) progress->message("note: " + note);
  const InterruptGuard guard;
  PsEngine engine(args.ps, config, *progress);
  std::optional<PsDashboard> dashboard;
  if (args.metrics) {
    dashboard.emplace(*args.metrics, [&engine] { return engine.status(); });
    progress->message("metrics at http://" + dist::Address{args.metrics->host, dashboard->port()}.str() + "/");
  }
  options.trainer.engine = &engine;
  options.trainer.one_step_an_epoch = args.ps.mode == dist::Mode::epoch;
  TrainerResult result;
  try {
    result = run_session(config, options, *progress);
  } catch (...) {
    engine.close(dist::Drain::Reason::stopped);
    throw;
  }
  engine.close(result.complete ? dist::Drain::Reason::complete : dist::Drain::Reason::stopped);
  if (result.evaluation)
    std::printf("test accuracy %.2f %% (loss %.4f) after %lld epochs\n", 100 * result.evaluation->top1, result.evaluation->loss,
                static_cast<long long>(result.summary.epochs));
  std::printf("%s\n", options.folder.c_str());
  return result.signal ? 128 + result.signal : 0;
}

int run(const ShardArgs& args, std::span<const char* const>) {
  const std::unique_ptr<Progress> progress = make_progress(args.progress);
  const InterruptGuard guard;
  return run_shard(args, *progress);
}

}  // namespace
}  // namespace tern

int main(int argc, char** argv) {
  const std::span<const char* const> args(argv, static_cast<size_t>(argc));
  try {
    return std::visit([&](const auto& command) { return tern::run(command, args); }, tern::parse_server(args));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ps_server: %s\n", error.what());
    return static_cast<int>(tern::exit_code_for(error));
  }
}
