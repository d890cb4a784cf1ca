#include "core/cuda_devices.h"

#include "tests/catch.h"

TEST_CASE("cuda_devices: there are devices, or a reason why not", "[cuda]") {
  const tern::CudaDevices found = tern::cuda_devices();
  CHECK(found.devices.empty() != found.reason.empty());
  for (const tern::CudaDevice& device : found.devices) {
    INFO("cuda:" << device.index << " " << device.name);
    CHECK(device.problem.empty());
    CHECK_FALSE(device.name.empty());
    CHECK(device.major >= 7);
    CHECK(device.memory > 0);
  }
}
