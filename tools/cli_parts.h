#pragma once
#include <CLI/CLI.hpp>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "tools/cli.h"

/// What the command lines of several programs have in common; for tools/cli*.cpp only.
namespace tern::cli {

/// Types of options that several commands share; the words in them are completed by the shell.
constexpr const char* kDeviceType = "auto|cpu|cuda[:I]";
constexpr const char* kProgressType = "auto|bar|lines|json|none";

/// Switches that several commands share, as typed.
struct Recipe {
  std::vector<std::string> sets;
  std::string epochs, seed, device, precision, threads, progress = "auto";
  bool no_fold = false, no_plan = false, no_fusion = false, no_planner = false, no_graph = false;
};
void add_recipe(CLI::App& app, Recipe& recipe, TrainArgs& args);
/// The part of it that says what is trained and on what: CONFIG, --set, --seed, --device, --precision, --threads.
void add_config(CLI::App& app, Recipe& recipe, TrainArgs& args);
void apply_recipe(const Recipe& recipe, TrainArgs& args);
/// `--epochs`: one number sets train.epochs; a range or list asks for the experiment loop.
void apply_epochs(const std::string& text, TrainArgs& args);
ProgressStyle progress_style(const std::string& text);

/// Names that could have been meant at this place: options of the innermost command that was named, or commands.
std::vector<std::string> names_of(const CLI::App& app, bool options);

/// Throws ConfigError where both options were given.
void refuse_both(const CLI::App& app, const char* a, const char* b);

/// Arguments by which a program tells of its command line instead of reading one: `trainer completion` and `trainer man`
/// ask each program's own parser with them.
constexpr const char* kCompletionArgument = "--print-completion";
constexpr const char* kManArgument = "--print-man";

/// Runs CLI11's parser; its exceptions become CliText or ConfigError.
std::optional<CliText> parse(CLI::App& app, const std::vector<std::string>& args);
/// Some options may stand alone: `--resume` then takes "auto", also where a config file follows, `--profile` 5 and `--dashboard`
/// a port on loopback; the latter two take other values by `=` only.
std::vector<std::string> fill_in_values(std::span<const char* const> argv);

/// `trainer predict`.
struct PredictParser {
  explicit PredictParser(CLI::App& app);
  PredictArgs result();
  PredictArgs args;
  std::string tta = "none";
  CLI::App* command;
};

template <class E, size_t N>
E choice(const std::string& text, const std::string& option, const std::array<const char*, N>& names) {
  std::string known;
  for (size_t i = 0; i < N; ++i) {
    if (text == names[i]) return static_cast<E>(i);
    known += (i == 0 ? "" : ", ") + std::string(names[i]);
  }
  throw ConfigError(option + ": got \"" + text + "\", wanted one of " + known);
}

}  // namespace tern::cli
