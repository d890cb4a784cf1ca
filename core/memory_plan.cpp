#include "core/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "core/allocator.h"

namespace tern {

MemoryLayout plan_memory(std::span<const Lifetime> lifetimes, bool reuse) {
  auto aligned = [](size_t bytes) { return (bytes + Allocator::kAlignment - 1) / Allocator::kAlignment * Allocator::kAlignment; };
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });

  MemoryLayout layout{std::vector<size_t>(lifetimes.size()), 0};
  std::vector<size_t> placed;  // by offset
  for (size_t i : order) {
    const size_t bytes = aligned(std::max<size_t>(lifetimes[i].bytes, 1));
    size_t offset = reuse ? 0 : layout.bytes;
    for (size_t j : placed) {
      const bool together = lifetimes[i].first <= lifetimes[j].last && lifetimes[j].first <= lifetimes[i].last;
      if (!reuse || !together) continue;
      if (layout.offsets[j] >= offset + bytes) break;  // sorted by offset: the gap before j is large enough
      offset = std::max(offset, layout.offsets[j] + aligned(std::max<size_t>(lifetimes[j].bytes, 1)));
    }
    layout.offsets[i] = offset;
    layout.bytes = std::max(layout.bytes, offset + bytes);
    placed.insert(std::ranges::upper_bound(placed, offset, {}, [&](size_t j) { return layout.offsets[j]; }), i);
  }
  return layout;
}

}  // namespace tern
