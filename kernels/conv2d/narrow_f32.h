#pragma once
#include <cstddef>
#include <span>

#include "core/thread_pool.h"
#include "kernels/conv2d/correlate_f32.h"

namespace tern {

/// Correlations of stride 1 in one group with at most 8 result channels, which would leave most of a vector of channels empty: here a vector
/// holds neighbouring pixels. By shape alone.
bool narrow_fits(const Correlation& job);

size_t narrow_f32_workspace(const Correlation& job, int threads);
/// As winograd_f32(): the filters w, `bias` [group_out] or null. Sums in chains over taps and channels, padding included.
void narrow_f32(const Correlation& job, const float* w, const FilterSteps& steps, const float* bias, std::span<std::byte> scratch, ThreadPool& pool);

}  // namespace tern
