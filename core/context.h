#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <typeindex>
#include <unordered_map>

#include "core/allocator.h"
#include "core/device.h"
#include "core/phase_clock.h"

namespace tern {

class DeviceRuntime;
class Recorder;
class Tensor;
class ThreadPool;

/// Everything an op needs besides its inputs: threads, memory, the tape's switch, the lane size, RNG coordinates and
/// the recorder of a plan. Tensors point at their Context, which must outlive them. One thread builds and runs ops on
/// a Context at a time; ops themselves run on all threads of its pool.
class Context {
 public:
  struct Options {
    int threads = 0;         ///< 0: every processor this process may use
    Device device = {};
    uint64_t seed = 42;
    bool fusion = true;      ///< false: fused ops run as their decomposition
    bool poison = false;     ///< debug: fill memory with NaN before use and after the last use
    bool graph = true;       ///< false: plans replay op by op also where the device can run a graph
    bool time_engines = true;  ///< false: a GPU's convolutions take cuDNN's first engine, as every process with this GPU and cuDNN does, and not the fastest
    bool tf32 = false;       ///< true: f32 products and convolutions may round their operands to TF32 on a GPU
  };

  Context() : Context(Options{}) {}
  explicit Context(Options options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Options& options() const { return options_; }
  Device device() const { return options_.device; }
  DeviceRuntime& runtime() { return *runtime_; }
  ThreadPool& pool() { return *pool_; }
  Allocator& allocator() { return allocator_; }

  bool grad_enabled() const { return grad_enabled_; }
  void set_grad_enabled(bool on) { grad_enabled_ = on; }

  /// Pictures in a lane (D5); 0: the whole batch is one lane. Ops that reduce over the batch capture it when they are
  /// made: lane i is rows [i*m, min((i+1)*m, N)), each is reduced alone, and the lanes are summed in the canonical tree.
  int64_t lane_size() const { return lane_size_; }
  void set_lane_size(int64_t m) { lane_size_ = m; }

  /// BatchNorm's running statistics are left to Module::update_statistics when on (the trainer updates them lane by
  /// lane once a step is known to be finite); off: every training forward updates them.
  bool defer_statistics() const { return defer_statistics_; }
  void set_defer_statistics(bool on) { defer_statistics_ = on; }

  /// i64 [2]: seed and step (or epoch). Random ops read it when they run, so a replayed plan sees new values.
  const Tensor& rng_key();
  void set_rng_key(uint64_t seed, uint64_t step);
  /// i64 [N]: the sample each row of the batch is, or undefined: the row's index.
  const Tensor& rng_samples() const;
  void set_rng_samples(const Tensor& samples);

  /// Where the time goes: enter_phase("backward") inside a step is recorded, so that replays are timed alike.
  void enter_phase(std::string_view phase);
  const PhaseClock& clock() const { return clock_; }
  void reset_clock() { clock_.reset(); }

  /// The one T of this context, made as T(context) when it is first asked for: library handles and caches of kernels.
  template <class T>
  T& extension() {
    std::shared_ptr<void>& slot = extensions_[std::type_index(typeid(T))];
    if (!slot) slot = std::make_shared<T>(*this);
    return *static_cast<T*>(slot.get());
  }

  Recorder* recorder() const { return recorder_; }
  void set_recorder(Recorder* recorder) { recorder_ = recorder; }
  /// Numbers tape nodes and storages in the order of their making.
  uint64_t next_sequence() { return sequence_++; }
  /// What the allocator books new tensors under; see MemoryTag.
  std::string_view memory_tag() const { return memory_tag_; }
  void set_memory_tag(std::string_view tag) { memory_tag_ = tag; }

 private:
  struct RandomState;
  Options options_;
  std::unique_ptr<DeviceRuntime> runtime_;
  Allocator allocator_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<RandomState> random_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> extensions_;
  PhaseClock clock_;
  Recorder* recorder_ = nullptr;
  bool grad_enabled_ = true;
  bool defer_statistics_ = false;
  int64_t lane_size_ = 0;
  uint64_t sequence_ = 0;
  std::string_view memory_tag_ = "tensors";
};

/// Turns the tape off while it lives.
class NoGrad {
 public:
  explicit NoGrad(Context& context) : context_(context), before_(context.grad_enabled()) { context.set_grad_enabled(false); }
  ~NoGrad() { context_.set_grad_enabled(before_); }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Context& context_;
  bool before_;
};

/// Books the tensors made while it lives under `tag` (a string literal) in the allocator's statistics.
class MemoryTag {
 public:
  MemoryTag(Context& context, std::string_view tag) : context_(context), before_(context.memory_tag()) { context.set_memory_tag(tag); }
  ~MemoryTag() { context_.set_memory_tag(before_); }
  MemoryTag(const MemoryTag&) = delete;
  MemoryTag& operator=(const MemoryTag&) = delete;

 private:
  Context& context_;
  std::string_view before_;
};

}  // namespace tern
