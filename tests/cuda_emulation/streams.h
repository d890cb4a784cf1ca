#pragma once
/// What CUDA's handles point to.
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/runtime.h"

namespace tern::emulation {

using Work = std::function<cudaError_t()>;

/// A capture in progress, shared by the streams that take part in it.
struct Capture {
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool valid = true;
  bool active = true;
  std::vector<Work> work;                  ///< in the order of the calls, which is one that the streams' waits allow
  std::vector<cudaStream_t> others;        ///< streams that joined by waiting for an event
  std::map<cudaStream_t, size_t> unjoined;  ///< other streams with work that the origin does not wait for yet
};

/// One process's device. Every call holds the mutex, so that kernels run one at a time.
struct Runtime {
  std::recursive_mutex mutex;
  DeviceMemory memory;
  std::vector<std::shared_ptr<Capture>> captures;
};
Runtime& runtime();

/// Keeps `error` for cudaGetLastError() and returns it.
cudaError_t report(cudaError_t error);

/// For calls that are unsafe while this thread captures (in global mode: any thread), or that wait for the device:
/// invalidates those captures and returns the error; cudaSuccess where there is none. A wait is unsafe in every mode.
enum class Unsafe { call, wait };
cudaError_t forbid_in_capture(Unsafe what);

}  // namespace tern::emulation

struct CUstream_st {
  std::shared_ptr<tern::emulation::Capture> capture;
};
struct CUevent_st {
  bool timed = true;
  bool recorded = false;
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<tern::emulation::Capture> capture;  ///< that it was last recorded in
  cudaStream_t stream = nullptr;
  size_t position = 0;  ///< amount of work in the capture when it was recorded
};
struct CUgraph_st {
  std::vector<tern::emulation::Work> work;
};
struct CUgraphExec_st {
  std::vector<tern::emulation::Work> work;
};
