#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/thread_pool.h"
#include "kernels/conv2d/geometry.h"

/// The f32 CPU kernels of conv2d's three passes: direct, by Winograd's algorithm where winograd_fits(), or with vectors of pixels where narrow_fits().
/// An element of a result is a sum of chains of fused multiply-adds in an order
/// that depends on the shapes of a lane alone, so its bits do not depend on threads, batch, tiles or vector width.
namespace tern {

/// Each function wants `bytes` of scratch memory, aligned to a cache line, for the same shape and a pool of `threads`.
size_t conv2d_f32_workspace(const ConvShape& shape, int threads);
/// `bias` may be null.
void conv2d_f32(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                std::span<std::byte> scratch, ThreadPool& pool);

size_t conv2d_dgrad_f32_workspace(const ConvShape& shape, int threads);
void conv2d_dgrad_f32(const ConvShape& shape, const float* dy, const float* w, float* dx, std::span<std::byte> scratch,
                      ThreadPool& pool);

/// `lane_size` as Context::lane_size().
size_t conv2d_wgrad_f32_workspace(const ConvShape& shape, int64_t lane_size, int threads);
void conv2d_wgrad_f32(const ConvShape& shape, int64_t lane_size, const float* x, const float* dy, float* dw,
                      std::span<std::byte> scratch, ThreadPool& pool);

}  // namespace tern
