#include "core/allocator.h"

#include <algorithm>

#include "core/device_runtime.h"
#include "core/error.h"

namespace tern {
namespace {

/// Sizes are rounded so that nearly equal requests share blocks: to 64 bytes under 4 KiB, else to an eighth of the
/// power of two below, which wastes at most 12.5 %.
size_t block_size(size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  size_t grain = Allocator::kAlignment;
  if (bytes > 4096) {
    size_t power = 4096;
    while (power * 2 <= bytes) power *= 2;
    grain = power / 8;
  }
  return (bytes + grain - 1) / grain * grain;
}

/// Frees every cached block; returns their bytes.
size_t release_all(DeviceRuntime& runtime, std::map<size_t, std::vector<void*>>& cached) {
  size_t released = 0;
  for (auto& [size, blocks] : cached)
    for (void* block : blocks) {
      runtime.release(block, size);
      released += size;
    }
  cached.clear();
  return released;
}

std::string mebibytes(size_t bytes) {
  const size_t tenths = bytes * 10 / (1 << 20);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

}  // namespace

std::string AllocatorStats::str() const {
  std::vector<std::pair<std::string, Usage>> rows(by_tag.begin(), by_tag.end());
  std::ranges::stable_sort(rows, [](const auto& a, const auto& b) { return a.second.current > b.second.current; });
  std::string text = "in use " + mebibytes(total.current) + ", peak " + mebibytes(total.peak) + ", reserved " + mebibytes(reserved);
  for (const auto& [tag, usage] : rows)
    text += "\n  " + tag + ": " + mebibytes(usage.current) + " (peak " + mebibytes(usage.peak) + ")";
  return text;
}

Allocator::~Allocator() { trim(); }

void* Allocator::from_system(size_t bytes, std::string_view tag) {
  if (limit_ != 0 && stats_.reserved + bytes > limit_) {
    // Cached blocks of other sizes may make room.
    for (auto& [size, blocks] : cached_)
      for (; !blocks.empty() && stats_.reserved + bytes > limit_; blocks.pop_back()) {
        runtime_.release(blocks.back(), size);
        stats_.reserved -= size;
      }
  }
  const bool fits = limit_ == 0 || stats_.reserved + bytes <= limit_;
  void* pointer = fits ? runtime_.allocate(bytes) : nullptr;
  if (fits && !pointer) {
    stats_.reserved -= release_all(runtime_, cached_);
    pointer = runtime_.allocate(bytes);
  }
  if (!pointer)
    throw OutOfMemory("[allocator] no " + mebibytes(bytes) + " for " + std::string(tag) + " on " + device_.str() + ": " + stats_.str());
  stats_.reserved += bytes;
  ++stats_.system_allocations;
  return pointer;
}

void* Allocator::allocate(size_t bytes, std::string_view tag) {
  if (bytes > size_t{1} << 62) throw OutOfMemory("[allocator] request of " + std::to_string(bytes) + " bytes");
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  if (auto it = cached_.find(size); it != cached_.end() && !it->second.empty()) {
    pointer = it->second.back();
    it->second.pop_back();
  } else {
    pointer = from_system(size, tag);
  }
  auto it = stats_.by_tag.find(tag);
  if (it == stats_.by_tag.end()) it = stats_.by_tag.emplace(std::string(tag), AllocatorStats::Usage{}).first;
  for (auto* usage : {&stats_.total, &it->second}) {
    usage->current += size;
    usage->peak = std::max(usage->peak, usage->current);
  }
  ++stats_.allocations;
  live_.emplace(pointer, Live{size, &it->second});
  if (poison_) runtime_.fill(pointer, 0xff, size);
  return pointer;
}

void Allocator::free(void* pointer) {
  if (!pointer) return;
  std::lock_guard lock(mutex_);
  const auto it = live_.find(pointer);
  stats_.total.current -= it->second.bytes;
  it->second.usage->current -= it->second.bytes;
  cached_[it->second.bytes].push_back(pointer);
  live_.erase(it);
}

void Allocator::trim() {
  std::lock_guard lock(mutex_);
  stats_.reserved -= release_all(runtime_, cached_);
}

void Allocator::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.total.peak = stats_.total.current;
  for (auto& [tag, usage] : stats_.by_tag) usage.peak = usage.current;
}

AllocatorStats Allocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace tern
