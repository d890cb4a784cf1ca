#include "core/cuda_devices.h"

#include "core/error.h"

#if TERN_CUDA
#include <cuda_runtime_api.h>

#include <cstdio>

#include "core/cuda_probe.h"
#endif

namespace tern {
#if TERN_CUDA
namespace {

std::string message(cudaError_t status) { return cudaGetErrorString(status); }

CudaDevice describe(int index) {
  CudaDevice device;
  device.index = index;
  cudaDeviceProp properties;
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess) {
    device.problem = message(status);
    return device;
  }
  device.name = properties.name;
  device.major = properties.major;
  device.minor = properties.minor;
  device.memory = properties.totalGlobalMem;
  char bus[32];
  std::snprintf(bus, sizeof bus, "%08x:%02x:%02x.0", static_cast<unsigned>(properties.pciDomainID),
                static_cast<unsigned>(properties.pciBusID), static_cast<unsigned>(properties.pciDeviceID));
  device.pci_bus_id = bus;
  cudaError_t status = cudaSetDevice(index);
  if (status == cudaSuccess) status = static_cast<cudaError_t>(cuda_probe());
  if (status != cudaSuccess) device.problem = message(status);
  return device;
}

/// 0 with the reason.
int count_devices(std::string& reason) {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    reason = "no NVIDIA driver is installed";
  else if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess)
    reason = message(status);
  else if (count == 0)
    reason = "the NVIDIA driver shows no GPU";
  return reason.empty() ? count : 0;
}

}  // namespace

CudaDevice cuda_device(int index) {
  const std::string name = "cuda:" + std::to_string(index) + ": ";
  std::string reason;
  const int count = count_devices(reason);
  if (count == 0) throw DeviceError(name + reason);
  if (index >= count) throw DeviceError(name + "this machine has " + std::to_string(count) + " GPUs, counted from 0");
  int current = 0;
  cudaGetDevice(&current);
  CudaDevice device = describe(index);
  cudaSetDevice(current);
  if (!device.problem.empty()) throw DeviceError(name + device.name + ": " + device.problem);
  return device;
}

CudaDevices cuda_devices() {
  CudaDevices found;
  const int count = count_devices(found.reason);
  int current = 0;
  if (count > 0) cudaGetDevice(&current);
  for (int i = 0; i < count; ++i) found.devices.push_back(describe(i));
  if (count > 0) cudaSetDevice(current);
  return found;
}

#else

namespace {
constexpr const char* kNoCuda = "this build has no CUDA (configure with -DTERN_CUDA=ON)";
}

CudaDevice cuda_device(int index) { throw DeviceError("cuda:" + std::to_string(index) + ": " + kNoCuda); }

CudaDevices cuda_devices() { return {{}, kNoCuda}; }

#endif
}  // namespace tern
