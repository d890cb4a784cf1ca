#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/common/loops.h"

namespace tern {

/// out[c] = sum over rows of term(row, c). Four rows a turn: the sum is loaded and stored a quarter as often. For a
/// tile of rows that bounds the length of an f32 sum (row_tile).
template <class Acc, class Term>
void sum_rows(Acc* out, int64_t rows, int64_t channels, const Term& term) {
  std::fill(out, out + channels, Acc{0});
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    TERN_INDEPENDENT
    for (int64_t c = 0; c < channels; ++c) out[c] += (term(r, c) + term(r + 1, c)) + (term(r + 2, c) + term(r + 3, c));
  }
  for (; r < rows; ++r) {
    TERN_INDEPENDENT
    for (int64_t c = 0; c < channels; ++c) out[c] += term(r, c);
  }
}

/// Rows whose elements stay in the L1 cache. Depends on the channels alone: it decides the bits of a sum.
inline int64_t row_tile(int64_t channels) { return std::clamp<int64_t>(4096 / channels, 4, 128) / 4 * 4; }

}  // namespace tern
