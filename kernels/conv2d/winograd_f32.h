#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/thread_pool.h"
#include "kernels/conv2d/correlate_f32.h"

/// Convolutions of 3x3 filters by Winograd's F(2x2, 3x3): 16 products for four neighbouring results instead of 36. A tile of 4x4 pixels,
/// the filters, and in the weights' gradient tiles of 2x2 of dy are transformed by sums and halves, multiplied position by position (16
/// matrix products over channels, or over tiles), and transformed back.
///
/// Which convolutions take it follows from their shapes alone, so bits do not depend on threads, batch, tiles or vector width: tiles
/// begin at a picture's first result, and every element is a sum in an order that the shapes of a lane give. The rounding error against
/// f64 is about that of PyTorch's direct convolution; F(4x4, 3x3) has a tenth of the precision and is not used.
/// Ref: Lavin, Gray: Fast algorithms for convolutional neural networks (2015), arXiv:1509.09308.
namespace tern {

/// 3x3 filters of stride 1 in one group, at least 16 channels on both sides, and pictures that tiles cover well.
bool winograd_fits(const ConvShape& shape);

size_t winograd_f32_workspace(const Correlation& job, int threads);
/// The correlation with the filters w; job.weights and job.start are not looked at. `bias` [group_out] may be null.
void winograd_f32(const Correlation& job, const float* w, const FilterSteps& steps, const float* bias, std::span<std::byte> scratch,
                  ThreadPool& pool);

size_t winograd_wgrad_f32_workspace(const ConvShape& shape, int64_t lane_size, int threads);
/// dw [K,3,3,C], the sum over lanes in the canonical tree.
void winograd_wgrad_f32(const ConvShape& shape, int64_t lane_size, const float* x, const float* dy, float* dw, std::span<std::byte> scratch,
                        ThreadPool& pool);

}  // namespace tern
