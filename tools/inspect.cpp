#include "tools/inspect.h"

#include <cstdio>
#include <filesystem>

#include "core/atomic_file.h"
#include "core/error.h"
#include "tools/config.h"
#include "tools/doctor.h"
#include "tools/interrupt.h"
#include "tools/lr_find.h"
#include "tools/model.h"
#include "tools/onnx_export.h"
#include "tools/open_checkpoint.h"
#include "tools/summary.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }

int run(const SummaryArgs& args) {
  const std::string& target = args.train.config;
  const std::string file = fs::is_directory(target) ? (fs::path(target) / "config.json").string() : target;
  const TrainingSummary summary = summarize(load_config(file, args.train.overrides), target, args.probe);
  print(args.json ? summary_json(summary) : summary_text(summary));
  return 0;
}

int run(const ExportArgs& args) {
  const OpenedCheckpoint checkpoint = open_checkpoint(args.checkpoint, args.model);
  const auto [names, pictures] = trained_on(checkpoint);
  const int64_t classes = checkpoint.config.model.classes.value_or(static_cast<int>(names.size()));
  Context context;
  const auto network = network_of(context, checkpoint, pictures, classes);
  const OnnxOptions options{.normalize = checkpoint.config.data.normalize, .classes = checkpoint.classes, .source = checkpoint.file.name()};
  write_file_atomically(args.onnx, onnx_model(*network, layers_of(checkpoint.config.model, classes), options));
  std::printf("%s: ONNX opset 17; input f32 [N, %d, %d, %d], pixels in [0, 1] (normalised inside); logits f32 [N, %lld]\n", args.onnx.c_str(),
              pictures.channels, pictures.height, pictures.width, static_cast<long long>(classes));
  return 0;
}

int run(const LrFindArgs& args) {
  const Config config = load_config(args.train.config, args.train.overrides);
  const std::unique_ptr<Progress> progress = make_progress(args.train.progress);
  const InterruptGuard guard;
  const LrCurve curve = find_lr(config, args, *progress);
  if (InterruptGuard::signal() != 0) return 128 + InterruptGuard::signal();
  if (curve.points.size() < 3) throw Error("lr-find: the loss is not finite from the start; try a smaller --min-lr");
  print(lr_curve_text(curve, config));
  if (args.out.empty()) return 0;
  const std::string csv = fs::path(args.out).replace_extension(".csv").string();
  write_file_atomically(args.out, lr_curve_svg(curve, std::filesystem::path(args.train.config).filename().string()), {.durable = false});
  write_file_atomically(csv, lr_curve_csv(curve), {.durable = false});
  std::printf("%s\n%s\n", args.out.c_str(), csv.c_str());
  return 0;
}

int run(const DoctorArgs& args) {
  DataConfig data;
  if (!args.config.empty()) data = load_config(args.config).data;
  if (!args.data.empty()) data.dir = args.data;
  const std::vector<Finding> findings = examine(data);
  print(args.json ? findings_json(findings) : findings_text(findings));
  return worst(findings) == Finding::Level::fail ? 1 : 0;
}

}  // namespace

int run_inspect(const InspectCommand& command) {
  return std::visit([](const auto& args) { return run(args); }, command);
}

}  // namespace tern
