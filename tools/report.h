#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/cli.h"
#include "tools/data_set.h"

namespace tern {

/// The page as one HTML file without outside links. `data` says what it shows: `kind` is "run" or "compare". Nothing in it can
/// leave the element that holds it.
std::string report_page(const nlohmann::ordered_json& data);

/// Writes RUN/report.html from what is in the run folder. `test`: the pictures that were evaluated; null: those of the run's
/// config, where they can be read. Throws ConfigError when the folder holds no run, Error when it cannot be written.
void write_report(const std::filesystem::path& folder, data::DatasetPtr test = nullptr);

/// `trainer report`: one run's report anew, or a comparison of several. Returns the exit code.
int run_report(const ReportArgs& args);

}  // namespace tern
