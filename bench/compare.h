#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/spread.h"

/// Results of two runs of bench side by side.
namespace tern::bench {

struct Measured {
  std::string name;
  Spread seconds;
};

/// What a JSON file of bench holds.
struct Results {
  std::map<std::string, std::string> facts;  ///< of the run: "threads", "peak FMA GFLOP/s" ...
  std::vector<Measured> rows;                ///< in the file's order; rows that ran nothing are left out
};

/// Throws DataError naming the file: it cannot be read, or bench has not written it.
Results read_results(const std::string& file);

struct CompareOptions {
  std::optional<double> fail_over;  ///< 0.05: a row that takes over 5 % longer is slower
  std::string filter = ".";         ///< a regular expression: old rows that it does not fit are not missed
};

struct Comparison {
  std::string text;                 ///< a line a row (old, new, ratio), then warnings and what is missing or new
  std::vector<std::string> slower;  ///< names; empty without fail_over
};

/// A row is slower when its median is over the threshold and the spreads of the two runs do not overlap: what lies within the
/// noise is said to, and passes.
Comparison compare_results(const Results& before, const Results& now, const CompareOptions& options);

/// "5%" -> 0.05. Throws ConfigError.
double parse_percent(const std::string& text);

}  // namespace tern::bench
