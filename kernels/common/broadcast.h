#pragma once
#include <array>
#include <cstdint>

#include "core/shape.h"

namespace tern {

/// N dense operands read in step with a dense output under NumPy's broadcasting. Axes of extent 1 are dropped, and
/// neighbours along which every operand goes on evenly are merged, so that most calls have one or two axes left.
template <int N>
struct BroadcastLoop {
  int rank = 1;
  std::array<int64_t, Shape::kMaxRank> extents{1};                                     ///< innermost first
  std::array<std::array<int64_t, Shape::kMaxRank>, static_cast<size_t>(N)> strides{};  ///< elements; innermost: 0 or 1
};

/// `out` must be what the operands broadcast to.
template <int N>
BroadcastLoop<N> plan_broadcast(const Shape& out, const std::array<Shape, static_cast<size_t>(N)>& operands) {
  BroadcastLoop<N> loop;
  loop.rank = 0;
  std::array<int64_t, static_cast<size_t>(N)> dense;
  dense.fill(1);
  for (int axis = 1; axis <= out.rank(); ++axis) {
    const int64_t extent = out[-axis];
    if (extent == 1) continue;
    std::array<int64_t, static_cast<size_t>(N)> stride{};
    bool merges = loop.rank > 0;
    const size_t inner = static_cast<size_t>(loop.rank > 0 ? loop.rank - 1 : 0);
    for (size_t n = 0; n < static_cast<size_t>(N); ++n) {
      const int64_t own = axis <= operands[n].rank() ? operands[n][-axis] : 1;
      stride[n] = own == 1 ? 0 : dense[n];
      dense[n] *= own;
      merges = merges && stride[n] == loop.strides[n][inner] * loop.extents[inner];
    }
    if (merges) {
      loop.extents[inner] *= extent;
      continue;
    }
    const size_t slot = static_cast<size_t>(loop.rank++);
    loop.extents[slot] = extent;
    for (size_t n = 0; n < static_cast<size_t>(N); ++n) loop.strides[n][slot] = stride[n];
  }
  if (loop.rank == 0) loop.rank = 1;  // all extents are 1: one row of one element
  return loop;
}

/// Calls `row(position, offsets, count)` for each run of output elements position..position+count-1 within
/// [begin, end) that lies in one row; operand n has its elements at offsets[n] + i * strides[n][0].
template <int N, class Row>
void walk_rows(const BroadcastLoop<N>& loop, int64_t begin, int64_t end, const Row& row) {
  std::array<int64_t, Shape::kMaxRank> index{};
  std::array<int64_t, static_cast<size_t>(N)> offsets{};
  int64_t rest = begin;
  for (size_t d = 0; d < static_cast<size_t>(loop.rank); ++d) {
    index[d] = rest % loop.extents[d];
    rest /= loop.extents[d];
    for (size_t n = 0; n < offsets.size(); ++n) offsets[n] += index[d] * loop.strides[n][d];
  }
  for (int64_t position = begin; position < end;) {
    const int64_t left = loop.extents[0] - index[0];
    const int64_t count = left < end - position ? left : end - position;
    row(position, offsets, count);
    position += count;
    for (size_t n = 0; n < offsets.size(); ++n) offsets[n] -= index[0] * loop.strides[n][0];
    index[0] = 0;
    for (size_t d = 1; d < static_cast<size_t>(loop.rank); ++d) {
      for (size_t n = 0; n < offsets.size(); ++n) offsets[n] += loop.strides[n][d];
      if (++index[d] < loop.extents[d]) break;
      for (size_t n = 0; n < offsets.size(); ++n) offsets[n] -= loop.extents[d] * loop.strides[n][d];
      index[d] = 0;
    }
  }
}

}  // namespace tern
