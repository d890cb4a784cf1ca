#pragma once
#include <cuda_runtime_api.h>

#include <string_view>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/device_runtime.h"

/// The CUDA runtime as types. Only sources that are built with CUDA include this: *.cu, *_cuda.cpp, *_cudnn.cpp.
namespace tern {

/// Throws DeviceError `[what] CUDA error name: text` unless `status` is cudaSuccess.
void check_cuda(cudaError_t status, std::string_view what);

/// A stream of its own, not synchronised with the default stream.
class CudaStream {
 public:
  CudaStream();
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  operator cudaStream_t() const { return stream_; }
  void synchronize() const { check_cuda(cudaStreamSynchronize(stream_), "stream"); }

 private:
  cudaStream_t stream_ = nullptr;
};

/// A point in a stream that others can wait for, or measure from.
class CudaEvent {
 public:
  enum class Timing { off, on };
  explicit CudaEvent(Timing timing = Timing::off);
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  CudaEvent& operator=(CudaEvent&&) = delete;
  void record(cudaStream_t stream) const { check_cuda(cudaEventRecord(event_, stream), "event"); }
  /// The host waits; at once when it was never recorded.
  void synchronize() const { check_cuda(cudaEventSynchronize(event_), "event"); }
  /// Milliseconds from `start` to this one, both recorded with timing on and reached.
  float milliseconds_since(const CudaEvent& start) const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// A GPU with one compute stream. Copies from the host go through pinned staging blocks, so that the host's memory is
/// free again at once and the copy overlaps what the host does next.
class CudaRuntime final : public DeviceRuntime {
 public:
  /// Throws DeviceError when the device is absent or this build has no code for it.
  explicit CudaRuntime(int index);
  ~CudaRuntime() override;

  void* allocate(size_t bytes) override;
  void release(void* pointer, size_t bytes) override;
  void fill(void* pointer, unsigned char byte, size_t bytes) override;
  void copy_in(void* to, const void* host, size_t bytes) override;
  void copy_out(void* host, const void* from, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void synchronize() override;
  std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work) override;

  void* native_stream() const override { return stream_; }

  cudaStream_t stream() const { return stream_; }
  int multiprocessors() const { return multiprocessors_; }

 private:
  struct Stage {
    std::byte* memory;
    CudaEvent done;  ///< the copy that used it last
  };
  static constexpr size_t kStages = 16, kStageBytes = size_t{1} << 20;
  int index_;
  int multiprocessors_ = 0;
  CudaStream stream_;
  std::vector<Stage> stages_;
  size_t next_stage_ = 0;
};

/// The runtime of a context on a GPU.
inline CudaRuntime& cuda_runtime(Context& context) { return static_cast<CudaRuntime&>(context.runtime()); }

}  // namespace tern
