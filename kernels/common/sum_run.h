#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/common/loops.h"

namespace tern {

/// The sum of term(0..count-1): leaves of 1024 terms in 16 interleaved f32 (f64) sums, added up in f64. The order is
/// fixed here, not by the width of a vector.
template <class Acc, class Term>
double sum_run(int64_t count, const Term& term) {
  constexpr int64_t kParts = 16, kLeaf = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kLeaf) {
    const int64_t end = std::min(count, begin + kLeaf);
    Acc parts[kParts] = {};
    int64_t i = begin;
    for (; i + kParts <= end; i += kParts)
      for (int64_t j = 0; j < kParts; ++j) parts[j] += term(i + j);
    for (int64_t j = 0; i + j < end; ++j) parts[j] += term(i + j);
    for (int64_t half = kParts / 2; half > 0; half /= 2)
      for (int64_t j = 0; j < half; ++j) parts[j] += parts[j + half];
    total += static_cast<double>(parts[0]);
  }
  return total;
}

}  // namespace tern
