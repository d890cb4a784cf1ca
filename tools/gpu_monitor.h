#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "core/device.h"

namespace tern {

/// Samples how busy a GPU is while a training runs, through NVIDIA's management library (libnvidia-ml, looked for at run
/// time). On the CPU, or where the library is not, there is nothing to take.
/// Ref: NVIDIA, "NVML API Reference Guide".
class GpuMonitor {
 public:
  struct Usage {
    double busy = 0;     ///< mean share of the time in which some kernel ran
    int64_t memory = 0;  ///< largest number of bytes in use on the GPU, by whatever process
  };
  /// `each` is called with every single sample, from a thread of its own.
  explicit GpuMonitor(Device device, std::function<void(const Usage&)> each = {});
  ~GpuMonitor();

  /// Of the samples since the last call.
  std::optional<Usage> take();

 private:
  struct Sampler;
  std::unique_ptr<Sampler> sampler_;
};

}  // namespace tern
