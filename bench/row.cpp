#include "bench/row.h"

#include <algorithm>
#include <charconv>
#include <regex>

#include "bench/network_rows.h"
#include "core/error.h"
#include "tools/nearest.h"

namespace tern::bench {
namespace {

std::vector<Row> op_rows() {
  std::vector<Row> rows;
  for (const testing::OpCase& row : testing::op_cases()) {
    const std::shared_ptr<const testing::OpCase> op(std::shared_ptr<void>(), &row);  // the table lives as long as the program
    rows.push_back({.name = name_of(row) + "/forward", .group = row.op, .op = op});
    if (row.gradient) rows.push_back({.name = name_of(row) + "/backward", .group = row.op, .op = op, .pass = Pass::backward});
  }
  return rows;
}

const Axis* find(const std::vector<Axis>& axes, const std::string& name) {
  const auto found = std::ranges::find(axes, name, &Axis::name);
  return found == axes.end() ? nullptr : &*found;
}

}  // namespace

Axis parse_axis(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) throw ConfigError("--axis " + text + ": wants NAME=VALUE,..., such as batch=1,32,128");
  Axis axis{.name = text.substr(0, equals), .values = {}};
  if (axis.name != "batch" && axis.name != "threads") {
    const std::string near = nearest_name(axis.name, std::vector<std::string>{"batch", "threads"});
    throw ConfigError("--axis: unknown axis '" + axis.name + "'; " + (near.empty() ? "there are batch and threads" : "did you mean '" + near + "'?"));
  }
  const char* at = text.data() + equals + 1;
  const char* const end = text.data() + text.size();
  while (true) {
    const char* const comma = std::find(at, end, ',');
    int value = 0;
    const auto [rest, error] = std::from_chars(at, comma, value);
    if (error != std::errc() || rest != comma || value < 1 || value > 4096)
      throw ConfigError("--axis " + axis.name + ": '" + std::string(at, comma) + "' is no number from 1 to 4096");
    if (std::ranges::count(axis.values, value) > 0) throw ConfigError("--axis " + axis.name + ": " + std::to_string(value) + " is there twice");
    axis.values.push_back(value);
    if (comma == end) return axis;
    at = comma + 1;
  }
}

std::vector<Row> choose_rows(const std::string& filter, const std::vector<Axis>& axes, int threads) {
  std::regex pattern;
  try {
    pattern = std::regex(filter);
  } catch (const std::regex_error& error) {
    throw ConfigError("--filter '" + filter + "' is no regular expression: " + error.what());
  }
  std::vector<Row> all = op_rows();
  const Axis* const batches = find(axes, "batch");
  for (const Timed& network : timed_networks())
    for (const int batch : batches != nullptr ? batches->values : std::vector{kDefaultBatch})
      for (Row& row : network_rows(network, batch)) {
        if (batches != nullptr && row.op->op != "adamw") row.name += "/batch:" + std::to_string(batch);
        if (std::ranges::find(all, row.name, &Row::name) == all.end()) all.push_back(std::move(row));
      }
  std::vector<Row> chosen;
  const Axis* const counts = find(axes, "threads");
  for (const Row& row : all)
    for (const int count : counts != nullptr ? counts->values : std::vector{threads}) {
      Row one = row;
      one.threads = count;
      if (counts != nullptr) one.name += "/threads:" + std::to_string(count);
      if (std::regex_search(one.name, pattern)) chosen.push_back(std::move(one));
    }
  if (chosen.empty()) throw ConfigError("--filter '" + filter + "' fits no benchmark; --list shows their names");
  return chosen;
}

}  // namespace tern::bench
