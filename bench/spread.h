#pragma once
#include <algorithm>
#include <vector>

namespace tern::bench {

/// Of several measurements: the median, and the two between which the middle half of them lies.
struct Spread {
  double median = 0, low = 0, high = 0;
};

/// `values` has one at least. Of up to 4, low and high are the smallest and the largest.
inline Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t quarter = (values.size() - 1) / 4, middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values[quarter], values[values.size() - 1 - quarter]};
}

}  // namespace tern::bench
