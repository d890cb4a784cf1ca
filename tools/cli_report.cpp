#include "tools/cli_report.h"

#include "core/error.h"

namespace tern::cli {

ReportCommand::ReportCommand(CLI::App& trainer) : command_(trainer.add_subcommand("report", "Make a run's report.html anew, or compare runs in one page")) {
  command_->add_option("RUN", args_.runs, "Run folders, or folders of experiments (--epochs A..B, --seeds A..B)")->required();
  command_->add_option("--out", args_.out, "Where to write it; default: report.html in the one folder, or comparison.html here")->type_name("FILE");
  command_->add_option("--target", args_.target, "Compare the time to this test accuracy (0..1); default: what all have reached")->type_name("A");
  command_->footer(
      "Examples:\n"
      "  trainer report runs/cifar-cnn-20250101-120000\n"
      "  trainer report runs/a runs/b runs/c --target 0.7 --out abc.html");
}

std::optional<TrainerCommand> ReportCommand::result() const {
  if (!command_->parsed()) return std::nullopt;
  if (args_.target && !(*args_.target >= 0 && *args_.target <= 1)) throw ConfigError("--target: wanted an accuracy from 0 to 1");
  return args_;
}

}  // namespace tern::cli
