#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/device.h"

namespace tern {

class DeviceRuntime;

/// Bytes of memory by what they are for. `reserved` counts what is held from the system, cached blocks included.
struct AllocatorStats {
  struct Usage {
    size_t current = 0;
    size_t peak = 0;
  };
  Usage total;
  size_t reserved = 0;
  size_t allocations = 0;         ///< calls to allocate
  size_t system_allocations = 0;  ///< of those, how many went to the system
  std::map<std::string, Usage, std::less<>> by_tag;
  std::string str() const;  ///< a table, largest tag first
};

/// Caching allocator: freed blocks are kept by size class and handed out again. Thread-safe. Blocks are aligned to
/// kAlignment bytes. On a GPU a freed block may be handed out while queued work still uses it: the one stream keeps the
/// order. Memory is not zeroed; poison(true) fills every block handed out with NaN bytes (0xff).
class Allocator {
 public:
  static constexpr size_t kAlignment = 64;

  /// Of the runtime's device; `runtime` must outlive it.
  Allocator(DeviceRuntime& runtime, Device device) : runtime_(runtime), device_(device) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// At least `bytes` bytes; zero bytes give a distinct valid pointer. Throws OutOfMemory listing what holds memory.
  void* allocate(size_t bytes, std::string_view tag = "tensors");
  void free(void* pointer);
  /// Gives cached blocks back to the system.
  void trim();
  void reset_peak();
  void poison(bool on) { poison_ = on; }
  /// At most this many bytes from the system; 0: no limit of ours.
  void set_limit(size_t bytes) { limit_ = bytes; }
  AllocatorStats stats() const;

 private:
  struct Live {
    size_t bytes;
    AllocatorStats::Usage* usage;
  };
  void* from_system(size_t bytes, std::string_view tag);

  DeviceRuntime& runtime_;
  Device device_;
  bool poison_ = false;
  size_t limit_ = 0;
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> cached_;  // by block size
  std::unordered_map<void*, Live> live_;
  AllocatorStats stats_;
};

}  // namespace tern
