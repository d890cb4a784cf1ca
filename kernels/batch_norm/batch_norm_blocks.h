#pragma once
#include <algorithm>

#include "core/rng.h"
#include "kernels/batch_norm/batch_norm_ops.h"
#include "kernels/common/column_threads.h"
#include "kernels/common/scratch.h"

namespace tern {

/// How the CUDA kernels cut a batch [rows, channels]: a block of threads gets a cut of one lane's rows and a group of
/// neighbouring channels. Depends on the shape of a lane alone, so that a lane's sums have the same bits wherever it lies.
struct BatchNormBlocks {
  int64_t rows = 0;      ///< of the batch
  int64_t lane_rows = 0; ///< of a lane; the last may have fewer
  int64_t cut_rows = 0;  ///< of a block; the last of a lane may have fewer
  int64_t channels = 0;
  int lanes = 1;
  int cuts = 1;     ///< of a full lane
  int width = 1;    ///< channels of a thread
  int columns = 1;  ///< threads side by side in a block
  int groups = 1;   ///< blocks side by side
  size_t number_bytes = 4;

  /// As many blocks as fill a GPU several times over, with enough rows a thread to pay for the block's start and end;
  /// at most kMost, which bounds the length of an f32 sum.
  static constexpr int64_t kBlocksOfLane = 1024, kLeast = 8, kMost = 64;

  int64_t blocks() const { return int64_t{lanes} * cuts * groups; }
  /// Two numbers a channel from each cut; the same of each lane.
  size_t partial_bytes() const { return scratch_bytes<std::byte>(lane_numbers() * cuts * static_cast<int64_t>(number_bytes)); }
  size_t lane_bytes() const { return scratch_bytes<std::byte>(lane_numbers() * static_cast<int64_t>(number_bytes)); }

  TERN_HOST_DEVICE int64_t rows_of_lane(int64_t lane) const {
    const int64_t rest = rows - lane * lane_rows;
    return rest < lane_rows ? rest : lane_rows;
  }
  /// 0 for cuts that a short lane does not have.
  TERN_HOST_DEVICE int64_t rows_of_cut(int64_t lane, int64_t cut) const {
    const int64_t rest = rows_of_lane(lane) - cut * cut_rows;
    return rest < 0 ? 0 : (rest < cut_rows ? rest : cut_rows);
  }

 private:
  int64_t lane_numbers() const { return int64_t{lanes} * 2 * channels; }
};

inline BatchNormBlocks batch_norm_blocks(const BatchNormSetup& setup, const Spec& x) {
  const Lanes lanes = setup.lanes(x.shape);
  BatchNormBlocks b;
  b.channels = x.shape[-1];
  b.rows = x.numel() / b.channels;
  b.lanes = static_cast<int>(lanes.count());
  b.lane_rows = (lanes.size == 0 ? lanes.rows : lanes.size) * (b.rows / lanes.rows);
  b.number_bytes = x.dtype == DType::f64 ? 8 : 4;
  const int64_t widest = 16 / static_cast<int64_t>(size_of(x.dtype));
  b.width = b.channels % widest == 0 ? static_cast<int>(widest) : 1;
  b.columns = columns_for(b.channels / b.width);
  const int64_t group = int64_t{b.columns} * b.width, below = kColumnThreads / b.columns;
  b.groups = static_cast<int>((b.channels + group - 1) / group);
  const int64_t blocks = std::max<int64_t>(1, BatchNormBlocks::kBlocksOfLane / b.groups);
  const int64_t rows_per_thread = (b.lane_rows + below * blocks - 1) / (below * blocks);
  b.cut_rows = below * std::clamp(rows_per_thread, BatchNormBlocks::kLeast, BatchNormBlocks::kMost);
  b.cuts = static_cast<int>((b.lane_rows + b.cut_rows - 1) / b.cut_rows);
  return b;
}

}  // namespace tern
