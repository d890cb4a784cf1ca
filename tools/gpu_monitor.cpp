#include "tools/gpu_monitor.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "core/cuda_devices.h"

namespace tern {
namespace {

/// The few functions of the library, with its own types where they matter. They return 0 for success.
struct Nvml {
  struct Utilization {
    unsigned gpu, memory;  // per cent
  };
  struct Memory {
    unsigned long long total, free, used;
  };
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*by_pci)(const char*, void**) = nullptr;
  int (*utilization)(void*, Utilization*) = nullptr;
  int (*memory)(void*, Memory*) = nullptr;

  /// False where the library or one of them is missing.
  bool load() {
    void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);  // stays: it may have threads
    if (!library) return false;
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    return find(init, "nvmlInit_v2") && find(shutdown, "nvmlShutdown") &&
           find(by_pci, "nvmlDeviceGetHandleByPciBusId_v2") && find(utilization, "nvmlDeviceGetUtilizationRates") &&
           find(memory, "nvmlDeviceGetMemoryInfo") && init() == 0;
  }
};

}  // namespace

/// A thread that looks every few milliseconds.
struct GpuMonitor::Sampler {
  Sampler(const Nvml& library, void* handle, std::function<void(const Usage&)> observer)
      : nvml(library), device(handle), each(std::move(observer)), thread([this] { run(); }) {}
  ~Sampler() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    wake.notify_all();
    thread.join();
    nvml.shutdown();
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, std::chrono::milliseconds(20), [this] { return stop; })) {
      Nvml::Utilization use{};
      Nvml::Memory bytes{};
      if (nvml.utilization(device, &use) == 0) {
        busy += use.gpu / 100.0;
        ++samples;
      }
      if (nvml.memory(device, &bytes) == 0) memory = std::max(memory, static_cast<int64_t>(bytes.used));
      if (each) each({use.gpu / 100.0, static_cast<int64_t>(bytes.used)});
    }
  }

  const Nvml nvml;
  void* const device;
  const std::function<void(const Usage&)> each;
  std::mutex mutex;
  std::condition_variable wake;
  bool stop = false;
  double busy = 0;
  int64_t samples = 0, memory = 0;
  std::thread thread;  // last: it uses the others
};

GpuMonitor::GpuMonitor(Device device, std::function<void(const Usage&)> each) {
  if (device.kind != Device::Kind::cuda) return;
  Nvml nvml;
  if (!nvml.load()) return;
  void* handle = nullptr;
  if (nvml.by_pci(cuda_device(device.index).pci_bus_id.c_str(), &handle) == 0)
    sampler_ = std::make_unique<Sampler>(nvml, handle, std::move(each));
  else
    nvml.shutdown();
}

GpuMonitor::~GpuMonitor() = default;

std::optional<GpuMonitor::Usage> GpuMonitor::take() {
  if (!sampler_) return std::nullopt;
  const std::lock_guard lock(sampler_->mutex);
  if (sampler_->samples == 0) return std::nullopt;
  const Usage usage{sampler_->busy / static_cast<double>(sampler_->samples), sampler_->memory};
  sampler_->busy = 0;
  sampler_->samples = sampler_->memory = 0;
  return usage;
}

}  // namespace tern
