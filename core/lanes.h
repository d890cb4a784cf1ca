#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>

/// Lanes (D5): the parts of a batch that are reduced alone, and the one order in which their sums are added.
namespace tern {

/// How `rows` of a batch fall into lanes of `size` rows; the last may be shorter. size 0: one lane.
struct Lanes {
  int64_t rows = 0;
  int64_t size = 0;

  int64_t count() const { return size == 0 ? 1 : (rows + size - 1) / size; }
  int64_t begin(int64_t lane) const { return lane * size; }
  int64_t end(int64_t lane) const { return size == 0 ? rows : std::min(rows, (lane + 1) * size); }
};

/// Where the canonical tree splits n > 1 leaves: the largest power of two below n. Absent trailing leaves change
/// nothing, so a ragged step sums as if its missing lanes were not there.
inline int64_t tree_split(int64_t n) { return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n - 1))); }

/// Sums `count` vectors of length `length`, `stride` elements apart, in the canonical tree; the sum replaces the first
/// one, the others are scratch. Elements are independent: callers may cut the length among threads.
template <class T>
void tree_sum(T* leaves, int64_t count, int64_t stride, int64_t length) {
  if (count <= 1) return;
  const int64_t split = tree_split(count);
  T* right = leaves + split * stride;
  tree_sum(leaves, split, stride, length);
  tree_sum(right, count - split, stride, length);
  for (int64_t i = 0; i < length; ++i) leaves[i] += right[i];
}

}  // namespace tern
