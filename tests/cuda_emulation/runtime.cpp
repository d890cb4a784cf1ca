/// Errors, the device, memory and copies.
#include "tests/cuda_emulation/runtime.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/cuda_emulation/executor.h"
#include "tests/cuda_emulation/launch.h"
#include "tests/cuda_emulation/streams.h"
#include "tests/cuda_emulation/symbols.h"

namespace tern::emulation {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[]{
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
};

const ErrorText& text_of(cudaError_t error) {
  static constexpr ErrorText kUnknown{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
  for (const ErrorText& entry : kErrors)
    if (entry.error == error) return entry;
  return kUnknown;
}

cudaError_t complain(cudaError_t error, const char* format, const void* pointer, size_t size) {
  std::fprintf(stderr, "[emulated CUDA] ");
  std::fprintf(stderr, format, pointer, size);
  std::fprintf(stderr, "\n");
  return error;
}

/// Whether `size` bytes at `pointer` are where a copy's direction says.
cudaError_t check_side(const void* pointer, size_t size, bool device, bool any) {
  const DeviceMemory& memory = runtime().memory;
  if (memory.contains(pointer)) {
    if (!device && !any) return complain(cudaErrorInvalidValue, "%p (%zu bytes) is the device's, not the host's", pointer, size);
    if (!memory.is_allocated(pointer, size))
      return complain(cudaErrorInvalidValue, "%p (%zu bytes) is not inside one allocation", pointer, size);
  } else if (device && !any) {
    return complain(cudaErrorInvalidValue, "%p (%zu bytes) is the host's, not the device's", pointer, size);
  }
  return cudaSuccess;
}

cudaError_t check_copy(const void* to, const void* from, size_t to_size, size_t from_size, cudaMemcpyKind kind) {
  const bool any = kind == cudaMemcpyDefault;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (const cudaError_t error = check_side(to, to_size, to_device, any); error != cudaSuccess) return error;
  return check_side(from, from_size, from_device, any);
}

}  // namespace

Runtime& runtime() {
  static Runtime one;
  return one;
}

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.x > 0x7fffffffu || grid.y == 0 ||
      grid.y > 65535 || grid.z == 0 || grid.z > 65535)
    return report(cudaErrorInvalidConfiguration);
  if (config.dynamicSmemBytes != 0) return report(cudaErrorNotSupported);
  return enqueue(config.stream, [grid, block, kernel, thread = std::move(thread)] {
    const cudaError_t error = run_grid(kernel, grid, block, thread);
    const std::string overrun = runtime().memory.find_overruns();
    if (overrun.empty()) return error;
    std::fprintf(stderr, "[emulated CUDA] %s %s\n", kernel_name(kernel).c_str(), overrun.c_str());
    return cudaErrorIllegalAddress;
  });
}

}  // namespace tern::emulation

using namespace tern::emulation;

const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return text_of(error).text; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return report(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return report(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated CUDA device");
  properties->totalGlobalMem = DeviceMemory::kTotal;
  properties->sharedMemPerBlock = 48 << 10;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->l2CacheSize = 1 << 20;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->memoryBusWidth = 64;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(properties.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = properties.warpSize; break;
    case cudaDevAttrClockRate: *value = 1000000; break;
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrMemoryClockRate: *value = 1000000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = properties.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = properties.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = properties.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    default: return report(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return report(forbid_in_capture(Unsafe::wait)); }
cudaError_t cudaDeviceReset() { return cudaSuccess; }

cudaError_t cudaMalloc(void** pointer, size_t size) {
  const std::lock_guard lock(runtime().mutex);
  if (const cudaError_t error = forbid_in_capture(Unsafe::call); error != cudaSuccess) return report(error);
  *pointer = size == 0 ? nullptr : runtime().memory.allocate(size);
  return report(*pointer || size == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* pointer) {
  const std::lock_guard lock(runtime().mutex);
  if (const cudaError_t error = forbid_in_capture(Unsafe::call); error != cudaSuccess) return report(error);
  if (!pointer || runtime().memory.free(pointer)) return cudaSuccess;
  return report(complain(cudaErrorInvalidValue, "cudaFree of %p, which is not allocated%.0zu", pointer, 0));
}
cudaError_t cudaMallocHost(void** pointer, size_t size) { return cudaHostAlloc(pointer, size, cudaHostAllocDefault); }
cudaError_t cudaHostAlloc(void** pointer, size_t size, unsigned) {
  const std::lock_guard lock(runtime().mutex);
  if (const cudaError_t error = forbid_in_capture(Unsafe::call); error != cudaSuccess) return report(error);
  *pointer = std::malloc(size);
  if (!*pointer) return report(cudaErrorMemoryAllocation);
  std::memset(*pointer, 0xff, size);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  const std::lock_guard lock(runtime().mutex);
  std::free(pointer);
  return report(forbid_in_capture(Unsafe::call));
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard lock(runtime().mutex);
  *total = DeviceMemory::kTotal;
  *free = DeviceMemory::kTotal - runtime().memory.used();
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind kind) {
  if (const cudaError_t error = forbid_in_capture(Unsafe::wait); error != cudaSuccess) return report(error);
  return cudaMemcpyAsync(to, from, size, kind, nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  if (size == 0) return cudaSuccess;
  return cudaMemcpy2DAsync(to, size, from, size, size, 1, kind, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width == 0 || height == 0) return cudaSuccess;
  if (to_pitch < width || from_pitch < width) return report(cudaErrorInvalidPitchValue);
  return enqueue(stream, [=] {
    const cudaError_t error =
        check_copy(to, from, to_pitch * (height - 1) + width, from_pitch * (height - 1) + width, kind);
    if (error != cudaSuccess) return error;
    for (size_t row = 0; row < height; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
    return cudaSuccess;
  });
}
cudaError_t cudaMemset(void* to, int value, size_t size) { return cudaMemsetAsync(to, value, size, nullptr); }
cudaError_t cudaMemsetAsync(void* to, int value, size_t size, cudaStream_t stream) {
  if (size == 0) return cudaSuccess;
  return enqueue(stream, [=] {
    const cudaError_t error = check_side(to, size, true, false);
    if (error == cudaSuccess) std::memset(to, value, size);
    return error;
  });
}
