#pragma once
#include <CLI/CLI.hpp>
#include <optional>

#include "tools/cli.h"
#include "tools/cli_parts.h"

namespace tern::cli {

/// The command lines of `trainer summary`, `export`, `lr-find`, `doctor`, `completion` and `man`; for tools/cli*.cpp only.
class InspectCommands {
 public:
  /// Adds the commands to the trainer's, which must live as long as this.
  explicit InspectCommands(CLI::App& trainer);
  InspectCommands(const InspectCommands&) = delete;
  InspectCommands& operator=(const InspectCommands&) = delete;

  /// The one that was named, or nullopt. Throws ConfigError.
  std::optional<TrainerCommand> result();

 private:
  void add_summary(CLI::App& trainer);
  void add_export(CLI::App& trainer);
  void add_lr_find(CLI::App& trainer);
  void add_doctor(CLI::App& trainer);
  void add_descriptions(CLI::App& trainer);

  SummaryArgs summary_;
  ExportArgs export_;
  LrFindArgs lr_find_;
  DoctorArgs doctor_;
  Recipe summary_recipe_, lr_find_recipe_;
  bool no_probe_ = false;
  std::string shell_, program_ = "trainer";
  CLI::App *completion_command_ = nullptr, *man_command_ = nullptr;
  CLI::App *summary_command_ = nullptr, *export_command_ = nullptr, *lr_find_command_ = nullptr, *doctor_command_ = nullptr;
};

}  // namespace tern::cli
