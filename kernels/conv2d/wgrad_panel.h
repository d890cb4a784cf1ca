#pragma once
#include <cstdint>

namespace tern {

/// The weight gradients of a block of filters, lane by lane: each [filter][width], `width` filters side by side.
struct WgradPanel {
  float* data = nullptr;
  int64_t lanes = 0;
  int64_t lane_floats = 0;  ///< from one lane's to the next's
  int64_t width = 0;
};

/// Sums the lanes in the canonical tree, which overwrites the panel, and unpacks the first `valid` filters: dw [valid, filter].
void reduce_wgrad_panel(const WgradPanel& panel, int64_t filter, int64_t valid, float* dw);

}  // namespace tern
