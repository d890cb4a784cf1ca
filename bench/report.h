#pragma once
#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

#include "bench/compare.h"

namespace tern::bench {

/// A reporter without the library's "/min_time:0.2/real_time" behind every name, and without its aggregates.
template <class Reporter>
class PlainNames : public Reporter {
 public:
  using Reporter::Reporter;
  void ReportRuns(const std::vector<benchmark::BenchmarkReporter::Run>& runs) override {
    auto plain = runs;
    std::erase_if(plain, [](const auto& run) { return run.run_type == benchmark::BenchmarkReporter::Run::RT_Aggregate; });
    for (auto& each : plain) {
      each.run_name.min_time.clear();
      each.run_name.time_type.clear();
      each.run_name.iterations.clear();
      each.run_name.repetitions.clear();
    }
    if (!plain.empty()) Reporter::ReportRuns(plain);
  }
};

/// The console's table: a line a row, with the median of its repetitions and their spread.
class TableReporter : public benchmark::ConsoleReporter {
 public:
  TableReporter(size_t name_width, std::map<std::string, std::string> groups)
      : ConsoleReporter(OO_None), width_(static_cast<int>(name_width)), groups_(std::move(groups)) {}

  bool ReportContext(const Context& context) override;
  /// All repetitions of one row.
  void ReportRuns(const std::vector<Run>& runs) override;

  const std::vector<Measured>& measured() const { return measured_; }
  /// By group: rows, the median, best and worst share of peak, and whose the worst is.
  std::string summary() const;

 private:
  struct Share {
    double of_peak;
    std::string name;
  };
  int width_;
  std::map<std::string, std::string> groups_;  // of the rows, by name
  std::vector<Measured> measured_;
  std::vector<std::pair<std::string, std::vector<Share>>> shares_;  // by group, in the order of their rows
};

}  // namespace tern::bench
