#include "tools/verify_resume.h"

#include <cstdio>

#include "core/error.h"
#include "tools/data_digest.h"
#include "tools/environment.h"

namespace tern {

int verify_resume(const VerifyResumeArgs& args, const Config& config, std::span<const char* const> argv, Progress& progress) {
  namespace fs = std::filesystem;
  const fs::path folder = args.train.out.empty() ? new_run_folder(fs::path(args.train.config).stem().string() + "-verify.json") : fs::path(args.train.out);
  SessionOptions straight{.trainer = trainer_options(args.train), .fusion = args.train.fusion, .graph = args.train.graph, .poison = args.train.poison, .folder = folder / "straight", .argv = argv};
  progress.message("training straight");
  const TrainerResult whole = run_session(config, straight, progress);
  if (whole.signal) return 128 + whole.signal;
  if (args.stop_after && *args.stop_after >= whole.summary.steps)
    throw ConfigError("--stop-after: got " + std::to_string(*args.stop_after) + ", wanted fewer than the training's " + std::to_string(whole.summary.steps) + " steps");

  SessionOptions stopped = straight;
  stopped.folder = folder / "resumed";
  const int64_t steps_per_epoch = whole.summary.steps / std::max<int64_t>(1, whole.summary.epochs);
  stopped.trainer.stop_after_steps = args.stop_after.value_or(std::max<int64_t>(1, steps_per_epoch * 2 / 3));
  progress.message("training with a stop after step " + std::to_string(*stopped.trainer.stop_after_steps));
  run_session(config, stopped, progress);
  SessionOptions resumed = straight;
  resumed.folder = stopped.folder;
  resumed.start = SessionOptions::Start::resume;
  progress.message("resuming");
  const TrainerResult second = run_session(config, resumed, progress);
  if (second.signal) return 128 + second.signal;

  const std::string a = data::sha256_file(folder / "straight/checkpoints/last.safetensors");
  const std::string b = data::sha256_file(folder / "resumed/checkpoints/last.safetensors");
  std::printf("straight %s\nresumed  %s\n%s\n", a.c_str(), b.c_str(), a == b ? "equal" : "DIFFERENT");
  return a == b ? 0 : 1;
}

}  // namespace tern
