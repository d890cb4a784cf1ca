#pragma once
#include <cfloat>

#include "core/launch.cuh"
#include "kernels/common/flat_update.h"

/// How the optimizer kernels walk over the stretches of a flat arena: one launch for up to kFlatSegments of them.
namespace tern::cuda {

struct FlatSegment {
  int64_t begin, end;   ///< elements of the arena
  int64_t first_block;  ///< of the grid; the segment has the blocks up to the next one's
  double weight_decay;
  int group;
};

/// As without_denormals() of for_vectors-inl.h.
__device__ inline float without_denormal(float x) { return fabsf(x) < FLT_MIN ? 0.0F : x; }

inline constexpr int kFlatSegments = 64;

/// Passed by value: a replayed CUDA graph needs no table in memory.
struct FlatSegments {
  int first = 0;  ///< place of segment[0] in the op's list
  int count = 0;
  int64_t blocks = 0;
  FlatSegment segment[kFlatSegments] = {};
};

inline constexpr int kFlatWidth = 4;  ///< elements of a 16-byte access
inline constexpr int kFlatPacksPerThread = 2;
inline constexpr int64_t kFlatBlock = int64_t{kThreads} * kFlatWidth * kFlatPacksPerThread;

/// Calls `body(const FlatSegments&)` for the segments, kFlatSegments at a time; empty ones are left out.
template <class Body>
void for_flat_segments(const std::vector<UpdateSegment>& all, const Body& body) {
  FlatSegments part;
  for (size_t i = 0; i < all.size(); ++i) {
    const UpdateSegment& s = all[i];
    part.segment[part.count++] = {s.begin, s.end, part.blocks, s.weight_decay, s.group};
    // Blocks start at a multiple of the access width below the segment, so that accesses are aligned.
    if (s.end > s.begin) part.blocks += ceil_div(s.end - s.begin / kFlatWidth * kFlatWidth, kFlatBlock);
    if (part.count < kFlatSegments && i + 1 < all.size()) continue;
    body(part);
    part = FlatSegments{.first = static_cast<int>(i) + 1};
  }
  if (all.empty()) body(part);  // AdamW counts its steps all the same
}

/// The segment of this block, as an index into `segments`.
__device__ inline int flat_segment_of_block(const FlatSegments& segments) {
  int s = 0;
  while (s + 1 < segments.count && int64_t{blockIdx.x} >= segments.segment[s + 1].first_block) ++s;
  return s;
}

/// Calls `body.pack(at)` where the four elements from `at` on lie in the segment and may be accessed at once, else
/// `body.element(at)` for each that lies there.
template <class Body>
__device__ inline void for_flat_elements(const FlatSegment& segment, bool aligned, const Body& body) {
  const int64_t start =
      segment.begin / kFlatWidth * kFlatWidth + (int64_t{blockIdx.x} - segment.first_block) * kFlatBlock;
#pragma unroll
  for (int k = 0; k < kFlatPacksPerThread; ++k) {
    const int64_t at = start + (int64_t{k} * kThreads + threadIdx.x) * kFlatWidth;
    if (aligned && at >= segment.begin && at + kFlatWidth <= segment.end) {
      body.pack(at);
    } else {
      for (int64_t i = at; i < at + kFlatWidth; ++i)
        if (i >= segment.begin && i < segment.end) body.element(i);
    }
  }
}

}  // namespace tern::cuda
