#include "bench/gpu_timer.h"

#include <algorithm>

#include "core/runtime_cuda.h"

namespace tern::bench {
namespace {

constexpr int kWarmUps = 3, kFewestRuns = 20, kMostRuns = 2000;
constexpr int kQueued = 10;  // runs between two waits: the GPU must never wait for the host

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, device), "device");
  return value;
}

}  // namespace

GpuTimer::GpuTimer(Context& context) : context_(context) {
  l2_bytes_ = static_cast<size_t>(attribute(cudaDevAttrL2CacheSize, context.device().index));
  flush_ = Tensor::empty(context, {static_cast<int64_t>(4 * l2_bytes_)}, DType::u8);
}

GpuTimer::Times GpuTimer::time(const std::function<void()>& queue, double min_seconds, Cache cache) {
  const cudaStream_t stream = cuda_runtime(context_).stream();
  for (int i = 0; i < kWarmUps; ++i) queue();
  context_.runtime().synchronize();
  std::vector<CudaEvent> starts, stops;
  for (int i = 0; i < kQueued; ++i) {
    starts.emplace_back(CudaEvent::Timing::on);
    stops.emplace_back(CudaEvent::Timing::on);
  }
  std::vector<double> seconds;
  double total = 0;
  while (seconds.size() < kMostRuns && (seconds.size() < kFewestRuns || total < min_seconds)) {
    for (size_t i = 0; i < kQueued; ++i) {
      if (cache == Cache::cold) context_.runtime().fill(flush_.raw(), static_cast<unsigned char>(i), flush_.bytes());
      starts[i].record(stream);
      queue();
      stops[i].record(stream);
    }
    context_.runtime().synchronize();
    for (size_t i = 0; i < kQueued; ++i) {
      seconds.push_back(1e-3 * stops[i].milliseconds_since(starts[i]));
      total += seconds.back();
    }
  }
  std::ranges::sort(seconds);
  const size_t runs = seconds.size();
  return {seconds[runs / 2], seconds[runs / 10], seconds[runs * 9 / 10], static_cast<int>(runs)};
}

double GpuTimer::copy_seconds(double bytes) {
  const size_t half = std::max<size_t>(16, static_cast<size_t>(bytes / 2) / 16 * 16);
  const auto known = copies_.find(half);
  if (known != copies_.end()) return known->second;
  if (!from_.defined() || from_.bytes() < half) {
    from_ = to_ = Tensor();  // before the larger ones are taken
    std::vector<uint8_t> bytes(half);
    for (size_t i = 0; i < half; ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
    from_ = Tensor::from(context_, {static_cast<int64_t>(half)}, bytes);
    to_ = Tensor::empty(context_, {static_cast<int64_t>(half)}, DType::u8);
  }
  const Times times = time([&] { queue_copy(context_, to_.raw(), from_.raw(), half); }, 0.01, Cache::cold);
  return copies_[half] = times.median;
}

}  // namespace tern::bench
