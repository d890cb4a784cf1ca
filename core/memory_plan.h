#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace tern {

/// A buffer that a plan needs from instruction `first` to instruction `last`, both included.
struct Lifetime {
  size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct MemoryLayout {
  std::vector<size_t> offsets;  ///< one a lifetime, aligned to Allocator::kAlignment
  size_t bytes = 0;             ///< of the arena
};

/// Places buffers in one arena so that those alive together do not overlap: largest first, each at the lowest offset
/// that is free over its lifetime. With `reuse` false every buffer has its own place.
/// Ref: Pisarchyk, Lee: Efficient memory management for deep neural net inference (2020), "greedy by size".
MemoryLayout plan_memory(std::span<const Lifetime> lifetimes, bool reuse = true);

}  // namespace tern
