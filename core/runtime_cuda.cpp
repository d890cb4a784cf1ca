#include "core/runtime_cuda.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/cuda_devices.h"
#include "core/error.h"

namespace tern {
namespace {

/// Makes the device the calling thread's before members of CudaRuntime are built on it.
int select(int index) {
  cuda_device(index);  // says what is wrong with it
  check_cuda(cudaSetDevice(index), "device");
  return index;
}

class CudaGraph final : public DeviceGraph {
 public:
  CudaGraph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    size_t nodes = 0;
    cudaError_t status = cudaGraphGetNodes(graph, nullptr, &nodes);
    nodes_ = static_cast<int>(nodes);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "graph");
  }
  ~CudaGraph() override { cudaGraphExecDestroy(executable_); }
  void launch() override { check_cuda(cudaGraphLaunch(executable_, stream_), "graph"); }
  int nodes() const override { return nodes_; }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t executable_ = nullptr;
  int nodes_ = 0;
};

}  // namespace

void check_cuda(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a launch's error would be reported again by the next call
  throw DeviceError("[" + std::string(what) + "] CUDA error " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

CudaStream::CudaStream() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
CudaStream::~CudaStream() { cudaStreamDestroy(stream_); }

CudaEvent::CudaEvent(Timing timing) {
  check_cuda(cudaEventCreateWithFlags(&event_, timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming), "event");
}
CudaEvent::~CudaEvent() {
  if (event_) cudaEventDestroy(event_);
}

float CudaEvent::milliseconds_since(const CudaEvent& start) const {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, start.event_, event_), "event");
  return milliseconds;
}

CudaRuntime::CudaRuntime(int index) : index_(select(index)) {
  check_cuda(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, index_), "device");
}

CudaRuntime::~CudaRuntime() {
  cudaStreamSynchronize(stream_);
  for (Stage& stage : stages_) cudaFreeHost(stage.memory);
}

void* CudaRuntime::allocate(size_t bytes) {
  void* pointer = nullptr;
  const cudaError_t status = cudaMalloc(&pointer, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "allocator");
  return pointer;
}

// cudaFree waits for the device, so that work queued on the block is done.
void CudaRuntime::release(void* pointer, size_t) { cudaFree(pointer); }

void CudaRuntime::fill(void* pointer, unsigned char byte, size_t bytes) {
  check_cuda(cudaMemsetAsync(pointer, byte, bytes, stream_), "fill");
}

void CudaRuntime::copy_in(void* to, const void* host, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kStageBytes) {
    if (stages_.size() < kStages && next_stage_ == stages_.size()) {
      void* memory = nullptr;
      check_cuda(cudaMallocHost(&memory, kStageBytes), "staging");
      stages_.push_back({static_cast<std::byte*>(memory), CudaEvent()});
    }
    Stage& stage = stages_[next_stage_];
    next_stage_ = (next_stage_ + 1) % kStages;
    stage.done.synchronize();
    const size_t part = std::min(kStageBytes, bytes - at);
    std::memcpy(stage.memory, static_cast<const std::byte*>(host) + at, part);
    check_cuda(cudaMemcpyAsync(static_cast<std::byte*>(to) + at, stage.memory, part, cudaMemcpyHostToDevice, stream_), "copy");
    stage.done.record(stream_);
  }
}

void CudaRuntime::copy_out(void* host, const void* from, size_t bytes) {
  if (bytes > 0) check_cuda(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "copy");
  synchronize();
}

void CudaRuntime::copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy");
}

void CudaRuntime::synchronize() { stream_.synchronize(); }

std::unique_ptr<DeviceGraph> CudaRuntime::capture(const std::function<void()>& work) {
  check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture");
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);  // the stream must leave capture mode, whatever went wrong
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream_, &graph), "capture");
  return std::make_unique<CudaGraph>(graph, stream_);
}

}  // namespace tern
