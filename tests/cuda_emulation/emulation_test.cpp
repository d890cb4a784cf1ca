/// The emulation itself: it computes what CUDA would, and finds what CUDA would trip over.
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <numeric>
#include <vector>

#include "tests/catch.h"
#include "tests/cuda_emulation/device.h"

namespace {

/// n elements on the device.
template <class T>
class Array {
 public:
  explicit Array(size_t n) : n_(n) { REQUIRE(cudaMalloc(&data_, n * sizeof(T)) == cudaSuccess); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    REQUIRE(cudaMemcpy(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  T* get() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(n_);
    REQUIRE(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t n_;
};

struct Stream {
  cudaStream_t handle = nullptr;
  Stream() { cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking); }
  ~Stream() { cudaStreamDestroy(handle); }
};

template <class... P, class... A>
cudaError_t launch(dim3 grid, dim3 block, cudaStream_t stream, void (*kernel)(P...), A... arguments) {
  cudaLaunchConfig_t config;
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

std::vector<float> counting(size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

__global__ void add_kernel(const float* a, const float* b, float* sum, int n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < static_cast<unsigned>(n)) sum[i] = a[i] + b[i];
}
__global__ void increment_kernel(float* x) { x[threadIdx.x] += 1.0f; }
__global__ void sum_kernel(const float* x, float* sums) {
  __shared__ float warps[8];
  float sum = x[blockIdx.x * 256 + threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  sum = threadIdx.x < 8 ? warps[threadIdx.x] : 0.0f;
  for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
template <bool kBarrier>
__global__ void reverse_kernel(const float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  if (kBarrier) __syncthreads();
  y[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}
__global__ void positions_kernel(int* out) {
  const int thread = static_cast<int>(threadIdx.x + 3 * (threadIdx.y + 5 * threadIdx.z));
  const int block = static_cast<int>(blockIdx.x + 2 * (blockIdx.y + 3 * blockIdx.z));
  __syncthreads();
  out[block * 30 + thread] = static_cast<int>(threadIdx.x * 100 + threadIdx.y * 10 + threadIdx.z);
}
__global__ void divergent_kernel() {
  if (threadIdx.x < 10) __syncthreads();
}
__global__ void two_barriers_kernel() {
  if (threadIdx.x < 10)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void lost_lane_kernel(int* out) {
  if (threadIdx.x != 5) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void wrong_mask_kernel() { __syncwarp(0xffff); }
__global__ void warp_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int* mine = out + threadIdx.x * 8;
  mine[0] = __shfl_sync(0xffffffffu, lane, 3);
  mine[1] = __shfl_up_sync(0xffffffffu, lane, 1);
  mine[2] = __shfl_down_sync(0xffffffffu, lane, 2, 8);
  mine[3] = __shfl_xor_sync(0xffffffffu, lane, 16);
  mine[4] = static_cast<int>(__ballot_sync(0xffffffffu, lane < 4));
  mine[5] = __any_sync(0xffffffffu, lane == 31) + 2 * __all_sync(0xffffffffu, lane < 31);
  mine[6] = __syncthreads_count(threadIdx.x % 3 == 0) * 10 + __syncthreads_or(threadIdx.x == 7);
  mine[7] = __syncthreads_and(1);
}
__global__ void last_block_kernel(const float* x, float* partial, unsigned* ticket, float* total) {
  __shared__ bool last;
  partial[blockIdx.x] = x[blockIdx.x];
  __threadfence();
  if (threadIdx.x == 0) last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last || threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
  *total = sum;
}
[[maybe_unused]] __global__ void overrun_kernel(volatile float* x, int at) { x[at] = 0; }

}  // namespace

TEST_CASE("emulated CUDA: threads, blocks and copies", "[emulation]") {
  const std::vector<float> x = counting(1000);
  const Array<float> a(x), b(x), sum(1000);
  REQUIRE(launch(4, 256, nullptr, add_kernel, a.get(), b.get(), sum.get(), 1000) == cudaSuccess);
  const std::vector<float> values = sum.values();
  for (size_t i = 0; i < x.size(); ++i) REQUIRE(values[i] == 2 * x[i]);

  const Array<int> positions(12 * 30);
  REQUIRE(launch({2, 3, 2}, {3, 5, 2}, nullptr, positions_kernel, positions.get()) == cudaSuccess);
  const std::vector<int> got = positions.values();
  for (int i = 0; i < 360; ++i) REQUIRE(got[static_cast<size_t>(i)] == i % 3 * 100 + i / 3 % 5 * 10 + i / 15 % 2);
}

TEST_CASE("emulated CUDA: a reduction through shuffles and shared memory", "[emulation]") {
  const std::vector<float> x = counting(256 * 5);
  const Array<float> in(x), sums(5);
  REQUIRE(launch(5, 256, nullptr, sum_kernel, in.get(), sums.get()) == cudaSuccess);
  const std::vector<float> got = sums.values();
  for (size_t i = 0; i < 5; ++i) CHECK(got[i] == std::accumulate(x.begin() + 256 * i, x.begin() + 256 * (i + 1), 0.0f));
}

TEST_CASE("emulated CUDA: warp and block collectives", "[emulation]") {
  const Array<int> out(64 * 8);
  REQUIRE(launch(1, 64, nullptr, warp_kernel, out.get()) == cudaSuccess);
  const std::vector<int> got = out.values();
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32;
    const std::vector<int> want{3,  std::max(lane - 1, 0), lane % 8 < 6 ? lane + 2 : lane, lane ^ 16, 0xf, 1, 22 * 10 + 1, 1};
    INFO("thread " << thread);
    CHECK(std::vector<int>(got.begin() + thread * 8, got.begin() + thread * 8 + 8) == want);
  }
}

TEST_CASE("emulated CUDA: the last block sees what the others wrote", "[emulation]") {
  const std::vector<float> x = counting(20);
  const Array<float> in(x), partial(20), total(1);
  const Array<unsigned> ticket(std::vector<unsigned>{0});
  REQUIRE(launch(20, 32, nullptr, last_block_kernel, in.get(), partial.get(), ticket.get(), total.get()) == cudaSuccess);
  CHECK(total.values()[0] == 210.0f);
}

TEST_CASE("emulated CUDA: a missing barrier gives wrong results", "[emulation]") {
  const std::vector<float> x = counting(64 * 4);
  const Array<float> in(x), out(x.size());
  std::vector<float> want(x.size());
  for (size_t i = 0; i < x.size(); ++i) want[i] = x[i / 64 * 64 + 63 - i % 64];
  REQUIRE(launch(4, 64, nullptr, reverse_kernel<true>, in.get(), out.get()) == cudaSuccess);
  CHECK(out.values() == want);
  REQUIRE(launch(4, 64, nullptr, reverse_kernel<false>, in.get(), out.get()) == cudaSuccess);
  CHECK(out.values() != want);
}

TEST_CASE("emulated CUDA: threads that cannot meet end the launch", "[emulation]") {
  const Array<int> out(32);
  CHECK(launch(1, 32, nullptr, divergent_kernel) == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(launch(1, 32, nullptr, two_barriers_kernel) == cudaErrorLaunchFailure);
  CHECK(launch(1, 32, nullptr, lost_lane_kernel, out.get()) == cudaErrorLaunchFailure);
  CHECK(launch(1, 32, nullptr, wrong_mask_kernel) == cudaErrorLaunchFailure);
  CHECK(launch(1, 2048, nullptr, divergent_kernel) == cudaErrorInvalidConfiguration);
  CHECK(launch(0, 32, nullptr, divergent_kernel) == cudaErrorInvalidConfiguration);
  cudaGetLastError();
}

TEST_CASE("emulated CUDA: memory errors are found", "[emulation]") {
  const Array<float> x(10);
  std::vector<float> host(10);
  CHECK(cudaMemcpy(host.data(), x.get(), 44, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(x.get(), host.data(), 40, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaFree(x.get() + 1) == cudaErrorInvalidValue);
  float* much = nullptr;
  CHECK(cudaMalloc(&much, size_t{5} << 30) == cudaErrorMemoryAllocation);
#if !defined(__SANITIZE_ADDRESS__)  // which reports it first, and ends the program
  CHECK(launch(1, 1, nullptr, overrun_kernel, x.get(), 10) == cudaErrorIllegalAddress);
  CHECK(launch(1, 1, nullptr, overrun_kernel, x.get(), -1) == cudaErrorIllegalAddress);
  CHECK(launch(1, 1, nullptr, overrun_kernel, x.get(), 9) == cudaSuccess);
#endif
  cudaGetLastError();
}

TEST_CASE("emulated CUDA: the host cannot read the device's memory", "[emulation]") {
  const Array<float> x(std::vector<float>(1, 0.0f));
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    _exit(*static_cast<volatile float*>(x.get()) == 0.0f ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_FALSE(WIFEXITED(status));
}

TEST_CASE("emulated CUDA: a captured graph runs when launched, and as often", "[emulation]") {
  const Stream stream, side;
  const Array<float> x(std::vector<float>(8, 0.0f)), y(8);
  cudaEvent_t fork, join;
  cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
  cudaEventCreateWithFlags(&join, cudaEventDisableTiming);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK(launch(1, 8, stream.handle, increment_kernel, x.get()) == cudaSuccess);
  CHECK(cudaEventRecord(fork, stream.handle) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(side.handle, fork) == cudaSuccess);
  CHECK(cudaMemcpyAsync(y.get(), x.get(), 32, cudaMemcpyDeviceToDevice, side.handle) == cudaSuccess);
  CHECK(cudaMemsetAsync(y.get(), 0, 4, side.handle) == cudaSuccess);
  CHECK(cudaEventRecord(join, side.handle) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(stream.handle, join) == cudaSuccess);
  REQUIRE(cudaStreamEndCapture(stream.handle, &graph) == cudaSuccess);
  CHECK(x.values() == std::vector<float>(8, 0.0f));

  size_t nodes = 0;
  CHECK(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess);
  CHECK(nodes == 3);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(cudaGraphLaunch(exec, stream.handle) == cudaSuccess);
  CHECK(cudaGraphLaunch(exec, stream.handle) == cudaSuccess);
  CHECK(x.values() == std::vector<float>(8, 2.0f));
  CHECK(y.values() == std::vector<float>{0, 2, 2, 2, 2, 2, 2, 2});
  cudaGraphExecDestroy(exec);
  cudaEventDestroy(fork);
  cudaEventDestroy(join);
}

TEST_CASE("emulated CUDA: a capture refuses what a graph cannot hold", "[emulation]") {
  const Stream stream, side;
  const Array<float> x(8);
  float host[8];
  void* memory = nullptr;
  cudaEvent_t event;
  cudaEventCreate(&event);
  const auto ends_with = [&](auto call, cudaError_t of_call, cudaError_t of_end,
                             cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    REQUIRE(cudaStreamBeginCapture(stream.handle, mode) == cudaSuccess);
    CHECK(call() == of_call);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(stream.handle, &graph) == of_end);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
  };
  const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported, invalidated = cudaErrorStreamCaptureInvalidated;
  ends_with([&] { return cudaMalloc(&memory, 8); }, unsupported, invalidated);
  ends_with([&] { return cudaMalloc(&memory, 8); }, cudaSuccess, cudaSuccess, cudaStreamCaptureModeRelaxed);
  cudaFree(memory);
  ends_with([&] { return cudaStreamSynchronize(stream.handle); }, unsupported, invalidated);
  ends_with([&] { return cudaMemcpy(host, x.get(), 32, cudaMemcpyDeviceToHost); }, unsupported, invalidated);
  ends_with([&] { return cudaEventQuery(event); }, unsupported, invalidated);
  ends_with([&] { return launch(1, 8, nullptr, increment_kernel, x.get()); }, cudaErrorStreamCaptureImplicit, invalidated);
  ends_with(
      [&] {
        cudaEventRecord(event, stream.handle);
        cudaStreamWaitEvent(side.handle, event);
        return launch(1, 8, side.handle, increment_kernel, x.get());
      },
      cudaSuccess, cudaErrorStreamCaptureUnjoined);
  cudaEventDestroy(event);
}

TEST_CASE("emulated CUDA: events take the time", "[emulation]") {
  const Stream stream;
  cudaEvent_t start, end, untimed;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming);
  cudaEventRecord(start, stream.handle);
  cudaEventRecord(untimed, stream.handle);
  cudaEventRecord(end, stream.handle);
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, untimed) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess);
  CHECK(milliseconds >= 0);
  for (const cudaEvent_t event : {start, end, untimed}) cudaEventDestroy(event);
  cudaGetLastError();
}
