#include "bench/report.h"

#include <algorithm>
#include <cstdio>

#include "tools/format.h"

namespace tern::bench {
namespace {

using Run = benchmark::BenchmarkReporter::Run;

/// The median of what `value` gives for each run.
template <class Value>
Spread spread(const std::vector<Run>& runs, const Value& value) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(value(run));
  return spread_of(std::move(values));
}

/// 1.23e11 -> "123.0G", or nothing where no run counts it.
std::string rate(const std::vector<Run>& runs, const char* counter, double scale) {
  if (!runs[0].counters.contains(counter)) return "";
  return format("%.3f", scale * spread(runs, [&](const Run& run) { return run.counters.at(counter).value; }).median);
}

}  // namespace

bool TableReporter::ReportContext(const Context& context) {
  PrintBasicContext(&GetErrorStream(), context);
  std::printf("%-*s %12s %8s %10s %9s %9s %8s %6s\n", width_, "Benchmark", "median us", "spread", "Mitems/s", "GB/s", "GFLOP/s", "of_peak",
              "layers");
  return true;
}

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  const std::string name = runs[0].run_name.function_name;
  if (!runs[0].counters.contains("of_peak")) {  // the error of one that failed is told at the end
    std::printf("%-*s %s\n", width_, name.c_str(), runs[0].report_label.empty() ? "not timed" : runs[0].report_label.c_str());
    return;
  }
  Spread seconds = spread(runs, [](const Run& run) { return run.real_accumulated_time / static_cast<double>(run.iterations); });
  if (const auto low = runs[0].counters.find("us_p10"); low != runs[0].counters.end())  // a GPU's row has a spread of its own
    seconds = {seconds.median, 1e-6 * low->second.value, 1e-6 * runs[0].counters.at("us_p90").value};
  const double of_peak = spread(runs, [](const Run& run) { return run.counters.at("of_peak").value; }).median;
  const auto layers = runs[0].counters.find("layers");
  std::printf("%-*s %12.2f %7.1f%% %10s %9s %9s %8.3f %6s\n", width_, name.c_str(), 1e6 * seconds.median,
              100 * (seconds.high - seconds.low) / seconds.median, rate(runs, "items/s", 1e-6).c_str(), rate(runs, "bytes/s", 1e-9).c_str(),
              rate(runs, "flop/s", 1e-9).c_str(), of_peak,
              layers == runs[0].counters.end() ? "" : std::to_string(static_cast<int>(layers->second.value)).c_str());
  std::fflush(stdout);
  measured_.push_back({name, seconds});
  const std::string& group = groups_.at(name);
  if (shares_.empty() || shares_.back().first != group) {
    const auto found = std::ranges::find(shares_, group, &decltype(shares_)::value_type::first);
    if (found == shares_.end())
      shares_.push_back({group, {}});
    else
      std::rotate(found, found + 1, shares_.end());
  }
  shares_.back().second.push_back({of_peak, name});
}

std::string TableReporter::summary() const {
  std::string text = format("\n%-28s %5s %8s %8s %8s\n", "of_peak by group", "rows", "median", "best", "worst");
  for (const auto& [group, shares] : shares_) {
    std::vector<double> values;
    for (const Share& share : shares) values.push_back(share.of_peak);
    const auto [worst, best] = std::ranges::minmax_element(shares, {}, &Share::of_peak);
    text += format("%-28s %5zu %8.3f %8.3f %8.3f  %s\n", group.c_str(), shares.size(), spread_of(values).median, best->of_peak,
                   worst->of_peak, worst->name.c_str());
  }
  return text;
}

}  // namespace tern::bench
