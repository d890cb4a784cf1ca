#include "core/device_runtime.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "core/allocator.h"
#include "core/error.h"
#if TERN_CUDA
#include "core/runtime_cuda.h"
#endif

namespace tern {
namespace {

// Large blocks are mapped, so that Allocator::trim() really gives them back (malloc would keep them in its heap) and the
// kernel can use huge pages.
constexpr size_t kMapped = size_t{1} << 20;

class CpuRuntime final : public DeviceRuntime {
 public:
  void* allocate(size_t bytes) override {
    if (bytes < kMapped) return std::aligned_alloc(Allocator::kAlignment, bytes);
    void* pointer = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pointer == MAP_FAILED) return nullptr;
    madvise(pointer, bytes, MADV_HUGEPAGE);
    return pointer;
  }
  void release(void* pointer, size_t bytes) override {
    if (bytes < kMapped)
      std::free(pointer);
    else
      munmap(pointer, bytes);
  }
  void fill(void* pointer, unsigned char byte, size_t bytes) override { std::memset(pointer, byte, bytes); }
  void copy_in(void* to, const void* host, size_t bytes) override { copy(to, host, bytes); }
  void copy_out(void* host, const void* from, size_t bytes) override { copy(host, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memmove(to, from, bytes);
  }
  void synchronize() override {}
  std::unique_ptr<DeviceGraph> capture(const std::function<void()>&) override { return nullptr; }
};

}  // namespace

std::unique_ptr<DeviceRuntime> make_runtime(Device device) {
  if (device.kind == Device::Kind::cpu) return std::make_unique<CpuRuntime>();
#if TERN_CUDA
  return std::make_unique<CudaRuntime>(device.index);
#else
  throw DeviceError("[context] " + device.str() + ": this build of tern has no CUDA");
#endif
}

}  // namespace tern
