#pragma once
#include <cstddef>
#include <cstdint>

#include "core/thread_pool.h"
#include "kernels/conv2d/geometry.h"

namespace tern {

/// The sum that conv2d and its input gradient share: result[n,i,j,o] = start[o] + sum over taps and source channels of
/// source * weights, with rows and columns as the two AxisWalks say.
struct Correlation {
  int64_t images = 0;
  int64_t source_h = 0, source_w = 0;
  int64_t result_h = 0, result_w = 0;
  int64_t groups = 1, group_in = 0, group_out = 0;  ///< channels of source and result in a group
  AxisWalk rows = {}, cols = {};
  const float* source = nullptr;   ///< [images, source_h, source_w, groups*group_in]
  float* result = nullptr;         ///< [images, result_h, result_w, groups*group_out]
  const float* weights = nullptr;  ///< [groups, blocks, rows.taps, cols.taps, group_in, block], zeros after group_out
  const float* start = nullptr;    ///< [groups, blocks, block]

  int64_t source_c() const { return groups * group_in; }
  int64_t result_c() const { return groups * group_out; }
};

/// Steps through w [K,R,S,C/groups]: to the next group, filter row and column, channel of the result and the source.
struct FilterSteps {
  int64_t group, row, col, out, in;
};

/// The filters [groups, blocks, rows.taps, cols.taps, group_in, width], zeros after group_out, taps in the order of the walk; blocks
/// lie `block_floats` apart.
void pack_filters(const Correlation& job, const float* w, const FilterSteps& steps, int64_t width, int64_t block_floats, float* packed,
                  ThreadPool& pool);

/// Result channels that one pass of the register block makes: `block` above.
int64_t correlate_block();
/// No target's block is wider.
inline constexpr int64_t kMaxCorrelateBlock = 32;

void correlate_f32(const Correlation& job, ThreadPool& pool);

}  // namespace tern
