#include "tests/cuda_emulation/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <iterator>
#include <new>
#include <sstream>

#include "tests/cuda_emulation/asan.h"
#if TERN_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

namespace tern::emulation {
namespace {

constexpr size_t kAlignment = 256, kPage = 4096;
constexpr size_t kReserve = DeviceMemory::kTotal + (size_t{1} << 30);  // room for red zones and fragments
constexpr auto kRed = std::byte{0xcd};

constexpr size_t round_up(size_t size, size_t to) { return (size + to - 1) / to * to; }

}  // namespace

DeviceMemory::DeviceMemory() {
  void* base = mmap(nullptr, kReserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(base);
}

DeviceMemory::~DeviceMemory() {
  ASAN_UNPOISON_MEMORY_REGION(base_, touched_);
  munmap(base_, kReserve);
}

void DeviceMemory::protect(int protection) {
  if (touched_ > 0) mprotect(base_, touched_, protection);
}
void DeviceMemory::open() {
  if (open_++ > 0 || !closed_) return;
  protect(PROT_READ | PROT_WRITE);
  closed_ = false;
}
void DeviceMemory::close() {
  // Changing the pages costs more than a small kernel: after a while only now and then.
  constexpr int64_t kAlways = 1000, kEvery = 32;
  if (--open_ > 0 || (++closings_ > kAlways && closings_ % kEvery != 0)) return;
  protect(PROT_NONE);
  closed_ = true;
}

/// An allocation has a red zone on each side: from the byte after its end to 256 bytes or more further.
std::byte* DeviceMemory::red_zone_end(size_t offset, size_t size) const {
  return base_ + round_up(offset + size, kAlignment) + kAlignment;
}

void* DeviceMemory::allocate(size_t size) {
  if (size > kTotal - used_) return nullptr;
  size_t at = 0;  // of the red zone in front: the first gap that is large enough
  const size_t want = kAlignment + round_up(size, kAlignment) + kAlignment;
  for (const auto& [offset, length] : allocations_) {
    if (at + want <= offset - kAlignment) break;
    at = static_cast<size_t>(red_zone_end(offset, length) - base_);
  }
  if (at + want > kReserve) return nullptr;
  const size_t end = round_up(at + want, kPage);
  if (end > touched_) {
    touched_ = end;
    if (!closed_) protect(PROT_READ | PROT_WRITE);
  }
  const Open open(*this);
  std::byte* pointer = base_ + at + kAlignment;
  ASAN_UNPOISON_MEMORY_REGION(base_ + at, want);
  std::memset(base_ + at, static_cast<int>(kRed), want);
  std::memset(pointer, 0xff, size);
  ASAN_POISON_MEMORY_REGION(base_ + at, kAlignment);
  ASAN_POISON_MEMORY_REGION(pointer + size, red_zone_end(at + kAlignment, size) - (pointer + size));
  allocations_[at + kAlignment] = size;
  used_ += size;
  return pointer;
}

bool DeviceMemory::free(void* pointer) {
  if (!contains(pointer)) return false;
  const auto found = allocations_.find(static_cast<size_t>(static_cast<std::byte*>(pointer) - base_));
  if (found == allocations_.end()) return false;
  const size_t size = found->second;
  const Open open(*this);
  if (size <= (size_t{1} << 20)) std::memset(pointer, 0xff, size);
  ASAN_POISON_MEMORY_REGION(pointer, size);
  used_ -= size;
  allocations_.erase(found);
  return true;
}

bool DeviceMemory::contains(const void* pointer) const {
  const auto* p = static_cast<const std::byte*>(pointer);
  return p >= base_ && p < base_ + kReserve;
}

bool DeviceMemory::is_allocated(const void* pointer, size_t size) const {
  if (!contains(pointer)) return false;
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(pointer) - base_);
  auto after = allocations_.upper_bound(offset);
  if (after == allocations_.begin()) return false;
  const auto& [start, length] = *std::prev(after);
  return offset + size <= start + length;
}

__attribute__((no_sanitize("address"))) std::string DeviceMemory::find_overruns() {
  for (const auto& [offset, size] : allocations_) {
    for (const auto& [from, to] : {std::pair{base_ + offset - kAlignment, base_ + offset},
                                   std::pair{base_ + offset + size, red_zone_end(offset, size)}}) {
      for (std::byte* p = from; p != to; ++p) {
        if (*p == kRed) continue;
        std::ostringstream text;
        text << "wrote at byte " << p - (base_ + offset) << " of an allocation of " << size << " bytes";
        for (; p != to; ++p) *p = kRed;  // reported once
        return text.str();
      }
    }
  }
  return {};
}

}  // namespace tern::emulation
