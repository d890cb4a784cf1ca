#pragma once
#include <CLI/CLI.hpp>
#include <optional>

#include "tools/cli.h"

namespace tern::cli {

/// The command line of `trainer report`; for tools/cli*.cpp only.
class ReportCommand {
 public:
  /// Adds the command to the trainer's, which must live as long as this.
  explicit ReportCommand(CLI::App& trainer);
  ReportCommand(const ReportCommand&) = delete;
  ReportCommand& operator=(const ReportCommand&) = delete;

  /// What was asked for, or nullopt where it was another command. Throws ConfigError.
  std::optional<TrainerCommand> result() const;

 private:
  ReportArgs args_;
  CLI::App* command_;
};

}  // namespace tern::cli
