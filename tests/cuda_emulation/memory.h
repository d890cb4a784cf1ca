#pragma once
/// The emulated device's memory: an arena that the CPU can touch only while a kernel or a copy runs, so that a host read of
/// a device pointer is a SIGSEGV here as it is with a GPU (always among a program's first thousand, then at times).
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace tern::emulation {

class DeviceMemory {
 public:
  static constexpr size_t kTotal = size_t{4} << 30;

  DeviceMemory();
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Filled with 0xff (NaN) and aligned to 256 bytes; nullptr where the device is full.
  void* allocate(size_t size);
  /// False: not a pointer that allocate() gave, or freed already.
  bool free(void* pointer);
  size_t used() const { return used_; }
  bool contains(const void* pointer) const;
  /// Whether the bytes lie inside one allocation.
  bool is_allocated(const void* pointer, size_t size) const;
  /// What was written around an allocation since the last call; empty: nothing. Only while open.
  std::string find_overruns();

  /// While one lives, the arena can be read and written.
  class Open {
   public:
    explicit Open(DeviceMemory& memory) : memory_(memory) { memory_.open(); }
    ~Open() { memory_.close(); }
    Open(const Open&) = delete;

   private:
    DeviceMemory& memory_;
  };

 private:
  void open();
  void close();
  void protect(int protection);
  std::byte* red_zone_end(size_t offset, size_t size) const;

  std::byte* base_;
  std::map<size_t, size_t> allocations_;  ///< offset -> size, as asked for
  size_t used_ = 0;
  size_t touched_ = 0;  ///< bytes from base_ that any allocation ever reached
  int open_ = 0;
  bool closed_ = true;    ///< the pages are closed
  int64_t closings_ = 0;
};

}  // namespace tern::emulation
