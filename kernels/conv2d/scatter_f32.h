#pragma once
#include <cstddef>
#include <span>

#include "core/thread_pool.h"
#include "kernels/conv2d/geometry.h"

namespace tern {

/// Input gradients with few channels, whose filters have rows of at most 32 values: for each pixel of dy, such rows are added to dx,
/// where they are neighbours. A gradient gathered pixel by pixel would meet as much padding as dy. By shape alone.
bool scatter_fits(const ConvShape& shape);

size_t scatter_dgrad_f32_workspace(const ConvShape& shape, int threads);
/// dx [N,H,W,C] from dy [N,P,Q,K] and w [K,R,S,C]. Sums in chains over the filters, one for each tap.
void scatter_dgrad_f32(const ConvShape& shape, const float* dy, const float* w, float* dx, std::span<std::byte> scratch, ThreadPool& pool);

}  // namespace tern
