#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "tools/cli.h"

namespace tern {

/// The line y = intercept + slope x with the least squares. Fewer than two places x: nullopt.
struct LineFit {
  double slope = 0, intercept = 0;
  double r2 = 0;  ///< share of the variance of y that the line explains; 1 where y does not vary
};
std::optional<LineFit> fit_line(std::span<const double> x, std::span<const double> y);

/// Seconds of training, evaluations included, until an epoch's test accuracy was `target` or more; nullopt: never. `metrics` as
/// columns_json gives them.
std::optional<double> seconds_to(const nlohmann::ordered_json& metrics, double target);

/// DIR/experiments.csv as the page shows it: rows; over numbers of epochs the fit of the time and the best accuracy; over seeds
/// mean, deviation and interval.
nlohmann::ordered_json experiments_json(const std::filesystem::path& folder);

/// `trainer report RUN RUN...`: a page that compares runs, and a table on stdout. Folders of experiments stand for their runs and
/// bring their own curves. Returns the exit code.
int compare_runs(const ReportArgs& args);

/// DIR/report.html of a folder of experiments.
void write_experiments_report(const std::filesystem::path& folder);

}  // namespace tern
