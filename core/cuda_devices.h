#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace tern {

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  size_t memory = 0;         ///< bytes
  std::string pci_bus_id;    ///< "00000000:3b:00.0"
  std::string problem;       ///< why this build cannot use it (such as: compiled for other GPUs); empty when it can
};

struct CudaDevices {
  std::vector<CudaDevice> devices;
  std::string reason;  ///< why `devices` is empty: a build without CUDA, no driver, no GPU; empty when it is not
};

/// GPU `index` alone, which this build can use. Throws DeviceError that says why not: no GPUs, not so many, its problem.
CudaDevice cuda_device(int index);

/// The GPUs that the driver shows, usable or not. Never throws: what is wrong is in `reason` and `problem`.
CudaDevices cuda_devices();

}  // namespace tern
