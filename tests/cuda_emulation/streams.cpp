/// Streams, events, captures and graphs.
#include "tests/cuda_emulation/streams.h"

#include <algorithm>

#include "tests/cuda_emulation/launch.h"

namespace tern::emulation {
namespace {

cudaError_t run(const Work& work) {
  const DeviceMemory::Open open(runtime().memory);
  return work();
}

/// The legacy default stream waits for the others, which is impossible while one is captured.
cudaError_t check_default_stream() {
  for (const auto& capture : runtime().captures) {
    if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
    capture->valid = false;
    return cudaErrorStreamCaptureImplicit;
  }
  return cudaSuccess;
}

template <class T>
cudaError_t destroy(T* handle) {
  delete handle;
  return cudaSuccess;
}

}  // namespace

cudaError_t forbid_in_capture(Unsafe what) {
  const std::lock_guard lock(runtime().mutex);
  cudaError_t error = cudaSuccess;
  for (const auto& capture : runtime().captures) {
    const bool concerned = what == Unsafe::wait || capture->mode == cudaStreamCaptureModeGlobal ||
                           (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
    if (!concerned) continue;
    capture->valid = false;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  const std::lock_guard lock(runtime().mutex);
  if (!stream)
    if (const cudaError_t error = check_default_stream(); error != cudaSuccess) return report(error);
  if (!stream || !stream->capture) return report(run(work));
  Capture& capture = *stream->capture;
  if (!capture.valid) return report(cudaErrorStreamCaptureInvalidated);
  capture.work.push_back(std::move(work));
  if (stream != capture.origin) capture.unjoined[stream] = capture.work.size();
  return cudaSuccess;
}

}  // namespace tern::emulation

using namespace tern::emulation;

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return stream ? destroy(stream) : report(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(runtime().mutex);
  if (!stream) return report(check_default_stream());
  if (!stream->capture) return cudaSuccess;
  stream->capture->valid = false;
  return report(cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return enqueue(stream, [=] { return function(data), cudaSuccess; });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(runtime().mutex);
  if (!event) return report(cudaErrorInvalidResourceHandle);
  if (!event->capture) {
    if (!stream || !stream->capture || !event->recorded) return cudaSuccess;
    stream->capture->valid = false;  // a graph cannot wait for what is outside it
    return report(cudaErrorStreamCaptureUnsupported);
  }
  Capture& capture = *event->capture;
  if (!capture.active) return report(cudaErrorCapturedEvent);
  if (!stream || (stream->capture && stream->capture != event->capture)) {
    capture.valid = false;
    return report(stream ? cudaErrorStreamCaptureUnsupported : cudaErrorStreamCaptureImplicit);
  }
  if (!stream->capture) {
    stream->capture = event->capture;
    capture.others.push_back(stream);
    capture.unjoined[stream] = capture.work.size();
  } else if (stream == capture.origin) {
    const auto joined = capture.unjoined.find(event->stream);
    if (joined != capture.unjoined.end() && event->position >= joined->second) capture.unjoined.erase(joined);
  }
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->timed = !(flags & cudaEventDisableTiming);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return event ? destroy(event) : report(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(runtime().mutex);
  if (!event) return report(cudaErrorInvalidResourceHandle);
  if (!stream)
    if (const cudaError_t error = check_default_stream(); error != cudaSuccess) return report(error);
  event->recorded = true;
  event->time = std::chrono::steady_clock::now();
  event->stream = stream;
  event->capture = stream ? stream->capture : nullptr;
  if (event->capture) event->position = event->capture->work.size();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(runtime().mutex);
  if (!event) return report(cudaErrorInvalidResourceHandle);
  if (event->capture) {
    event->capture->valid = false;
    return report(cudaErrorCapturedEvent);
  }
  return report(forbid_in_capture(Unsafe::call));
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  for (const cudaEvent_t event : {start, end})
    if (!event || !event->timed || !event->recorded || event->capture) return report(cudaErrorInvalidResourceHandle);
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const std::lock_guard lock(runtime().mutex);
  if (!stream) return report(cudaErrorStreamCaptureUnsupported);
  if (stream->capture) return report(cudaErrorInvalidValue);
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture->thread = std::this_thread::get_id();
  runtime().captures.push_back(stream->capture);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(runtime().mutex);
  *graph = nullptr;
  if (!stream || !stream->capture) return report(cudaErrorInvalidValue);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) {
    capture->valid = false;
    return report(cudaErrorStreamCaptureUnmatched);
  }
  std::erase(runtime().captures, capture);
  capture->active = false;
  stream->capture = nullptr;
  for (const cudaStream_t other : capture->others) other->capture = nullptr;
  if (!capture->valid) return report(cudaErrorStreamCaptureInvalidated);
  if (!capture->unjoined.empty()) return report(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st{std::move(capture->work)};
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = !stream || !stream->capture ? cudaStreamCaptureStatusNone
            : stream->capture->valid    ? cudaStreamCaptureStatusActive
                                        : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes) return report(cudaErrorNotSupported);
  *count = graph->work.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return enqueue(stream, [work = exec->work] {
    for (const Work& one : work)
      if (const cudaError_t error = one(); error != cudaSuccess) return error;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return exec ? destroy(exec) : report(cudaErrorInvalidValue); }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return graph ? destroy(graph) : report(cudaErrorInvalidValue); }
