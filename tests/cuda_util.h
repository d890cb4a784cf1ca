#pragma once
#include <string>

#include "core/context.h"
#include "core/cuda_devices.h"

namespace tern::test {

/// Why the tests of the GPU cannot run here, or "": `if (const std::string why = no_gpu(); !why.empty()) SKIP(why);`
inline std::string no_gpu() {
  const CudaDevices found = cuda_devices();
  return found.devices.empty() ? found.reason : found.devices[0].problem;
}

/// A debugging context on the CPU or the first GPU: memory is poisoned with NaN.
inline Context::Options on(Device::Kind kind) {
  Context::Options options;
  options.threads = 2;
  options.device.kind = kind;
  options.poison = true;
  return options;
}
inline Context::Options on_gpu() { return on(Device::Kind::cuda); }

}  // namespace tern::test
