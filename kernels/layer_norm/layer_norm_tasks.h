#pragma once
#include "core/lanes.h"

namespace tern {

/// How a GPU cuts the rows that the gradients of layer_norm's parameters are summed over: each lane into tasks.
struct LayerNormTasks {
  static constexpr int64_t kRows = 256;  ///< of a task
  Lanes lanes;                           ///< of samples
  int64_t rows_per_sample;

  int64_t first_row(int64_t lane) const { return lanes.begin(lane) * rows_per_sample; }
  int64_t tasks(int64_t lane) const {
    return ((lanes.end(lane) - lanes.begin(lane)) * rows_per_sample + kRows - 1) / kRows;
  }
  /// [lanes][tasks(0)][dgamma, dbeta]
  int64_t partials(int64_t width) const { return lanes.count() * tasks(0) * 2 * width; }
};

}  // namespace tern
