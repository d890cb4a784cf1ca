// The engine on NCCL: a module of its own (dist/group_module.h).
#include <cuda_runtime.h>
#include <nccl.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "dist/group_module.h"

namespace tern::dist {
namespace {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw DeviceError(std::string("[nccl] ") + what + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

void check(ncclResult_t status, const char* what) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  const std::string text = std::string("[nccl] ") + what + ": " + ncclGetErrorString(status) + ": " + ncclGetLastError(nullptr);
  if (status == ncclRemoteError || status == ncclSystemError) throw PeerLostError(text);
  throw DeviceError(text);
}

/// Memory on the GPU that only grows.
class Staging {
 public:
  ~Staging() { cudaFree(memory_); }
  std::byte* reserve(size_t bytes) {
    if (bytes <= bytes_) return memory_;
    check(cudaFree(memory_), "cudaFree");
    memory_ = nullptr;
    bytes_ = 0;
    check(cudaMalloc(reinterpret_cast<void**>(&memory_), bytes), "cudaMalloc");
    bytes_ = bytes;
    return memory_;
  }

 private:
  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
};

class NcclGroup final : public Group {
 public:
  explicit NcclGroup(const GroupStart& start) : rank_(start.rank), size_(start.size), local_rank_(start.local_rank) {
    check(cudaSetDevice(start.device), "cudaSetDevice");
    check(cudaStreamCreateWithFlags(&own_, cudaStreamNonBlocking), "cudaStreamCreate");
    stream_ = own_;
    ncclUniqueId id;
    static_assert(sizeof id == sizeof start.id);
    std::memcpy(&id, start.id.data(), sizeof id);
    check(ncclCommInitRank(&comm_, size_, id, rank_), "ncclCommInitRank");
  }
  ~NcclGroup() override {
    ncclCommDestroy(comm_);
    cudaStreamDestroy(own_);
  }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  GroupCaps caps() const override { return {.bitwise = true, .device_memory = true}; }
  OnFailure on_failure() const override { return OnFailure::fatal; }
  void use_stream(void* stream) override { stream_ = static_cast<cudaStream_t>(stream); }

  void exchange(std::span<const RankSend> sends, std::span<const RankReceive> receives, Memory memory) override {
    if (memory == Memory::device) {
      post(sends, receives);
      wait();
      return;
    }
    exchange_staged(sends, receives);
  }

  [[noreturn]] void abort(int exit_code) override {
    ncclCommAbort(comm_);  // the others' next exchange fails with a remote error
    _Exit(exit_code);
  }

 private:
  void post(std::span<const RankSend> sends, std::span<const RankReceive> receives) {
    check(ncclGroupStart(), "ncclGroupStart");
    for (const RankSend& send : sends)
      if (!send.bytes.empty()) check(ncclSend(send.bytes.data(), send.bytes.size(), ncclUint8, send.to, comm_, stream_), "ncclSend");
    for (const RankReceive& receive : receives)
      if (!receive.bytes.empty())
        check(ncclRecv(receive.bytes.data(), receive.bytes.size(), ncclUint8, receive.from, comm_, stream_), "ncclRecv");
    check(ncclGroupEnd(), "ncclGroupEnd");
  }

  /// A kernel whose peer is gone never ends: the stream is asked, not waited for.
  void wait() {
    while (true) {
      const cudaError_t status = cudaStreamQuery(stream_);
      if (status == cudaSuccess) return;
      if (status != cudaErrorNotReady) check(status, "cudaStreamQuery");
      ncclResult_t error = ncclSuccess;
      check(ncclCommGetAsyncError(comm_, &error), "ncclCommGetAsyncError");
      check(error, "exchange");
      const timespec nap{0, 10'000};
      ::nanosleep(&nap, nullptr);
    }
  }

  /// The host's bytes, which are few, go through the GPU's memory.
  void exchange_staged(std::span<const RankSend> sends, std::span<const RankReceive> receives) {
    constexpr size_t kAlignment = 256;
    const auto padded = [](size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; };
    size_t total = 0;
    for (const RankSend& send : sends) total += padded(send.bytes.size());
    for (const RankReceive& receive : receives) total += padded(receive.bytes.size());
    std::byte* at = staging_.reserve(total);
    std::vector<RankSend> device_sends;
    std::vector<RankReceive> device_receives;
    for (const RankSend& send : sends) {
      check(cudaMemcpyAsync(at, send.bytes.data(), send.bytes.size(), cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
      device_sends.push_back({send.to, {at, send.bytes.size()}});
      at += padded(send.bytes.size());
    }
    for (const RankReceive& receive : receives) {
      device_receives.push_back({receive.from, {at, receive.bytes.size()}});
      at += padded(receive.bytes.size());
    }
    post(device_sends, device_receives);
    wait();
    for (size_t i = 0; i < receives.size(); ++i)
      check(cudaMemcpyAsync(receives[i].bytes.data(), device_receives[i].bytes.data(), receives[i].bytes.size(), cudaMemcpyDeviceToHost, stream_),
            "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  int rank_, size_, local_rank_;
  ncclComm_t comm_ = nullptr;
  cudaStream_t own_ = nullptr, stream_ = nullptr;
  Staging staging_;
};

}  // namespace
}  // namespace tern::dist

extern "C" int tern_group_module_version() { return tern::dist::kGroupModuleVersion; }

extern "C" void tern_new_group_id(std::array<std::byte, 128>& bytes) {
  ncclUniqueId id;
  tern::dist::check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  std::memcpy(bytes.data(), &id, sizeof id);
}

extern "C" tern::dist::Group* tern_open_group(const tern::dist::GroupStart& start) { return new tern::dist::NcclGroup(start); }
