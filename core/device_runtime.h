#pragma once
#include <cstddef>
#include <functional>
#include <memory>

#include "core/device.h"

namespace tern {

/// Work that was captured once and runs as a whole: a CUDA graph.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// Queues the captured work again, with the same arguments on the same memory.
  virtual void launch() = 0;
  virtual int nodes() const = 0;  ///< kernels, copies and fills in it
};

/// What core needs from a device besides its ops: memory, copies, fills. On a GPU everything is queued in the order of
/// one stream; only what says so waits.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  /// Uninitialised memory, aligned to Allocator::kAlignment, or null when there is none left.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* pointer, size_t bytes) = 0;
  /// Sets every byte.
  virtual void fill(void* pointer, unsigned char byte, size_t bytes) = 0;
  /// From the host's memory, which may be changed as soon as this returns.
  virtual void copy_in(void* to, const void* host, size_t bytes) = 0;
  /// To the host's memory; waits for it.
  virtual void copy_out(void* host, const void* from, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  /// Waits for everything queued. Throws DeviceError when some of it failed.
  virtual void synchronize() = 0;
  /// Captures what `work` queues instead of running it; null where the device has no such thing. `work` must not
  /// allocate, wait or read values.
  virtual std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work) = 0;
  /// The stream, for libraries that queue work of their own in it (a cudaStream_t); null on the CPU.
  virtual void* native_stream() const { return nullptr; }
};

/// Throws DeviceError for a device that this build or machine does not have.
std::unique_ptr<DeviceRuntime> make_runtime(Device device);

}  // namespace tern
