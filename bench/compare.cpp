#include "bench/compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "core/error.h"
#include "tools/format.h"

namespace tern::bench {
namespace {

constexpr double kOtherPeak = 0.05;  // machines drift this much from run to run; beyond it ratios say little

double unit_of(const std::string& unit) {
  static const std::map<std::string, double> units{{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}};
  const auto found = units.find(unit);
  if (found == units.end()) throw DataError("unknown time unit '" + unit + "'");
  return found->second;
}

/// Warns where the two runs cannot be laid side by side as they are.
std::string different_facts(const Results& before, const Results& now) {
  std::string text;
  for (const auto& [key, value] : before.facts) {
    const auto found = now.facts.find(key);
    const std::string other = found == now.facts.end() ? "not said" : found->second;
    if (key.starts_with("peak ")) {
      const double was = std::strtod(value.c_str(), nullptr), is = std::strtod(other.c_str(), nullptr);
      if (std::abs(is / was - 1) > kOtherPeak) text += format("warning: %s was %.1f and is %.1f\n", key.c_str(), was, is);
    } else if (other != value) {
      text += "warning: " + key + " was " + value + " and is " + other + "\n";
    }
  }
  return text;
}

Results parse_results(const nlohmann::json& json) {
  static const std::set<std::string> told{"simd", "threads", "gpu", "dtype"};
  Results results;
  for (const auto& [key, value] : json.at("context").items())
    if (told.contains(key) || key.starts_with("peak ")) results.facts[key] = value.get<std::string>();
  std::map<std::string, std::vector<double>> samples;
  for (const auto& row : json.at("benchmarks")) {
    if (row.value("run_type", "iteration") != "iteration" || !row.contains("of_peak")) continue;
    const auto name = row.at("name").get<std::string>();
    auto& times = samples[name];
    if (times.empty()) results.rows.push_back({name, {}});
    times.push_back(row.at("real_time").get<double>() * unit_of(row.at("time_unit").get<std::string>()));
    if (row.contains("us_p10")) {  // a GPU's row is one measurement with a spread of its own
      times.push_back(1e-6 * row.at("us_p10").get<double>());
      times.push_back(1e-6 * row.at("us_p90").get<double>());
    }
  }
  for (Measured& row : results.rows) row.seconds = spread_of(samples[row.name]);
  return results;
}

}  // namespace

Results read_results(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) throw DataError(file + ": cannot be read");
  try {
    return parse_results(nlohmann::json::parse(stream));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(file + ": not results of bench --json: " + error.what());
  } catch (const DataError& error) {
    throw DataError(file + ": " + error.what());
  }
}

Comparison compare_results(const Results& before, const Results& now, const CompareOptions& options) {
  Comparison result;
  std::map<std::string, Spread> old_rows;
  for (const Measured& row : before.rows) old_rows[row.name] = row.seconds;
  int width = 9;
  for (const Measured& row : now.rows) width = std::max(width, static_cast<int>(row.name.size()));
  result.text = format("%-*s %12s %21s %12s %21s %7s\n", width, "Benchmark", "old us", "(spread)", "new us", "(spread)", "ratio");
  std::string fresh;
  for (const Measured& row : now.rows) {
    const auto found = old_rows.find(row.name);
    if (found == old_rows.end()) {
      fresh += "new: " + row.name + " is not in the old results\n";
      continue;
    }
    const Spread was = found->second, is = row.seconds;
    old_rows.erase(found);
    const bool over = options.fail_over && is.median > was.median * (1 + *options.fail_over);
    const bool slower = over && is.low > was.high;
    if (slower) result.slower.push_back(row.name);
    result.text += format("%-*s %12.2f %10.2f-%-10.2f %12.2f %10.2f-%-10.2f %7.3f%s\n", width, row.name.c_str(), 1e6 * was.median,
                          1e6 * was.low, 1e6 * was.high, 1e6 * is.median, 1e6 * is.low, 1e6 * is.high, is.median / was.median,
                          slower ? "  slower" : over ? "  within the noise" : "");
  }
  const std::regex pattern(options.filter);
  std::string missing;
  for (const Measured& row : before.rows)
    if (old_rows.contains(row.name) && std::regex_search(row.name, pattern)) missing += "missing: " + row.name + " is in the old results only\n";
  result.text += fresh + missing + different_facts(before, now);
  return result;
}

double parse_percent(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || end - rest != 1 || *rest != '%' || !(value >= 0 && value < 1e6))
    throw ConfigError("--fail-over '" + text + "': wants a share such as 5%");
  return value / 100;
}

}  // namespace tern::bench
