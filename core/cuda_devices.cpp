#include "core/cuda_devices.h"

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

}  // namespace

CudaDevices cuda_devices() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return {{}, "no NVIDIA driver is installed"};
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) return {{}, message(status)};
  if (count == 0) return {{}, "the NVIDIA driver shows no GPU"};

  CudaDevices found;
  int current = 0;
  cudaGetDevice(&current);
  for (int i = 0; i < count; ++i) found.devices.push_back(describe(i));
  cudaSetDevice(current);
  return found;
}

#else

CudaDevices cuda_devices() { return {{}, "this build has no CUDA (configure with -DTERN_CUDA=ON)"}; }

#endif
}  // namespace tern
