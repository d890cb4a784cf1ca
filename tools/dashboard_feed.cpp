#include "tools/dashboard_feed.h"

#include <fstream>

#include "tools/report_run.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kMostSteps = 1500;

uintmax_t size_of(const fs::path& file) {
  std::error_code error;
  const uintmax_t size = fs::file_size(file, error);
  return error ? 0 : size;
}

size_t rows_of(const ordered_json& columns) { return columns.contains("epoch") ? columns["epoch"].size() : 0; }

}  // namespace

ordered_json RunFeed::everything() {
  started_ = true;
  steps_since_reset_ = 0;
  metrics_bytes_ = size_of(folder_ / "metrics.csv");
  steps_bytes_ = size_of(folder_ / "steps.jsonl");  // before it is read: a line that comes in between is sent twice, not lost
  ordered_json all = {{"reset", true}, {"metrics", columns_json(folder_ / "metrics.csv")}, {"timing", columns_json(folder_ / "timing.csv")},
                      {"steps", steps_json(folder_ / "steps.jsonl", kMostSteps)}};
  epochs_ = rows_of(all["metrics"]);
  return all;
}

/// Adds the whole lines behind those that were read before.
size_t RunFeed::new_steps(ordered_json& columns) {
  std::ifstream in(folder_ / "steps.jsonl");
  in.seekg(static_cast<std::streamoff>(steps_bytes_));
  size_t count = 0;
  for (std::string line; std::getline(in, line) && !in.eof();) {
    steps_bytes_ += line.size() + 1;
    const ordered_json step = ordered_json::parse(line, nullptr, false);
    if (!step.is_object()) continue;
    for (const auto& [name, value] : step.items())
      if (name != "skipped") columns[name].push_back(value);
    ++count;
  }
  return count;
}

std::optional<ordered_json> RunFeed::next() {
  const uintmax_t metrics = size_of(folder_ / "metrics.csv"), steps = size_of(folder_ / "steps.jsonl");
  if (!started_ || metrics < metrics_bytes_ || steps < steps_bytes_ || steps_since_reset_ > kMostSteps) return everything();
  if (metrics == metrics_bytes_ && steps == steps_bytes_) return std::nullopt;
  ordered_json news = ordered_json::object();
  if (metrics != metrics_bytes_) {
    metrics_bytes_ = metrics;
    news["metrics"] = columns_json(folder_ / "metrics.csv", epochs_);
    news["timing"] = columns_json(folder_ / "timing.csv", epochs_);
    epochs_ += rows_of(news["metrics"]);
  }
  ordered_json columns = ordered_json::object();
  if (const size_t count = new_steps(columns)) {
    news["steps"] = columns;
    steps_since_reset_ += count;
  }
  return news;
}

}  // namespace tern
