#pragma once
#include <functional>
#include <map>
#include <optional>

#include "core/tensor.h"

/// Only in builds with CUDA.
namespace tern::bench {

/// Times what is queued on the stream of a context, with events.
class GpuTimer {
 public:
  explicit GpuTimer(Context& context);

  /// Seconds on the GPU over all timed runs.
  struct Times {
    double median = 0, low = 0, high = 0;  ///< low and high: the 10th and the 90th part of a hundred
    int runs = 0;
  };
  enum class Cache { warm, cold };
  /// After warm-up, at least 20 runs and `min_seconds` of them. Cold: a buffer four times the L2 is written before each.
  Times time(const std::function<void()>& queue, double min_seconds, Cache cache);
  /// The median of a copy with a cold L2 that reads and writes `bytes` in all.
  double copy_seconds(double bytes);
  size_t l2_bytes() const { return l2_bytes_; }

 private:
  Context& context_;
  size_t l2_bytes_ = 0;
  Tensor flush_, from_, to_;
  std::map<size_t, double> copies_;
};

struct GpuPeakSizes {
  int64_t copied = int64_t{1} << 28;  ///< f32 elements
  int extent = 8192;                  ///< of the square matrices
};

/// What this GPU can do at this moment: the figures that results are a share of.
struct GpuPeaks {
  double kernel_copy_gbps = 0;  ///< a plain kernel, bytes read and written, 1e9 a second
  double memcpy_gbps = 0;       ///< cudaMemcpyAsync, the same
  double f32_gflops = 0, tf32_gflops = 0, f16_gflops = 0, bf16_gflops = 0;  ///< cuBLAS
  double copy_gbps() const { return kernel_copy_gbps > memcpy_gbps ? kernel_copy_gbps : memcpy_gbps; }
};

/// Medians; takes some seconds.
GpuPeaks measure_gpu_peaks(Context& context, const GpuPeakSizes& sizes = {});

/// Queues a copy of `bytes` (a multiple of 16) by a plain kernel.
void queue_copy(Context& context, void* to, const void* from, size_t bytes);

}  // namespace tern::bench
