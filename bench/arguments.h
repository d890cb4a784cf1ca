#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "tools/config.h"
#include "tools/nearest.h"

namespace tern::bench {

/// Parses argv; gives the help text where it was asked for. Throws ConfigError, with the nearest option for an unknown
/// one.
inline std::optional<std::string> parse_arguments(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return app.help();
  } catch (const CLI::ExtrasError& error) {
    const std::string extra = app.remaining().empty() ? "" : app.remaining()[0];
    const std::string name = extra.substr(0, extra.find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : app.get_options())
      for (const std::string& each : option->get_lnames()) known.push_back("--" + each);
    const std::string near = nearest_name(name, known);
    throw ConfigError("unknown argument '" + name + "'" +
                      (near.empty() ? "; see --help" : "; did you mean '" + near + "'?"));
  } catch (const CLI::ParseError& error) {
    throw ConfigError(error.what());
  }
  return std::nullopt;
}

/// The device of --device; not auto, since a figure is worth nothing without it. Throws ConfigError.
inline Device named_device(const std::string& text) {
  const std::optional<Device> device = parse_device(text);
  if (!device) throw ConfigError("--device auto: say cpu, cuda or cuda:i");
  return *device;
}

}  // namespace tern::bench
