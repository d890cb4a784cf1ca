#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/op_cases.h"

namespace tern::bench {

enum class Pass { forward, backward };

/// What is timed under one name.
struct Row {
  std::string name;   ///< "conv2d/3x3/forward", "cifar-cnn/conv2/wgrad/batch:32"
  std::string group;  ///< of the summary: the op, or a network and the op
  std::shared_ptr<const testing::OpCase> op;
  Pass pass = Pass::forward;
  /// One element of the output by the op's definition, in f64. Where it is given, elements of the output at the timed size are
  /// checked instead of the whole output at a smaller one.
  std::function<double(std::span<const testing::Array>, int64_t)> element = {};
  int layers = 0;  ///< of a network that are alike and this row stands for; 0: a row of the op table
  int threads = 0; ///< 0: all
};

/// "--axis batch=1,32,128": the rows that have this coordinate are run once for each value.
struct Axis {
  std::string name;  ///< batch or threads
  std::vector<int> values;
};

/// Throws ConfigError: an unknown axis (with the nearest name), a value that is no number over 0 or that is there twice.
Axis parse_axis(const std::string& text);

/// The rows of the op table, forward and backward, then those of the networks, whose name `filter` is found in. With an axis,
/// names end in "/batch:32" or "/threads:2". Throws ConfigError for a bad regular expression, or when none is left.
std::vector<Row> choose_rows(const std::string& filter, const std::vector<Axis>& axes, int threads);

}  // namespace tern::bench
