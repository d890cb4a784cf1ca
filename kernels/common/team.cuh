#pragma once
#include "kernels/common/block_reduce.cuh"

/// Threads that share a row: 1, 2, 4 .. 32 of a warp, or a whole block. The many short rows of a softmax over classes
/// and the few long ones are the same code.
namespace tern::cuda {

template <bool kWholeBlock>
struct Team {
  int size;
  int rank;  ///< this thread's place

  /// combine() over the team's values, in a fixed order; every thread gets the result. All threads of the block call
  /// it.
  template <class A, class Combine>
  __device__ A reduce(A value, A identity, const Combine& combine) const {
    if constexpr (kWholeBlock) {
      return block_reduce<kThreads>(value, identity, combine);
    } else {
      for (int offset = size / 2; offset > 0; offset /= 2) value = combine(value, shuffle_xor(value, offset));
      return value;
    }
  }
};

/// A team takes one row after another: row(team, r, active). Teams without a row do the last one again, not active,
/// because all threads of a block must meet in reduce(): they must not write.
template <bool kWholeBlock, class Row>
__global__ void rows_kernel(Row row, int64_t rows, int team_size) {
  const int teams = static_cast<int>(blockDim.x) / team_size;
  const Team<kWholeBlock> team{team_size, static_cast<int>(threadIdx.x) % team_size};
  for (int64_t first = int64_t{blockIdx.x} * teams; first < rows; first += int64_t{gridDim.x} * teams) {
    const int64_t r = first + static_cast<int>(threadIdx.x) / team_size;
    row(team, r < rows ? r : rows - 1, r < rows);
  }
}

/// Threads for a row of `units` loads of a thread: few for short rows, so that no thread is idle.
inline int team_size_for(int64_t units) {
  int size = 1;
  while (size < 32 && size * 4 < units) size *= 2;
  return units <= 1024 ? size : kThreads;
}

/// Runs row(team, r, active) for each r of 0..rows-1 with `team_size` threads (of team_size_for) each.
template <class Row>
void launch_rows(Context& context, std::string_view op, const Row& row, int64_t rows, int team_size) {
  int64_t blocks = ceil_div(rows, kThreads / team_size);
  if (blocks > kMaxBlocks) blocks = kMaxBlocks;
  launch(context, op, team_size > 32 ? rows_kernel<true, Row> : rows_kernel<false, Row>, blocks, kThreads, row, rows,
         team_size);
}

}  // namespace tern::cuda
