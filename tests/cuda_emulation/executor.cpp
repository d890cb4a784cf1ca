#include "tests/cuda_emulation/executor.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tests/cuda_emulation/device.h"
#include "tests/cuda_emulation/fiber.h"
#include "tests/cuda_emulation/symbols.h"

namespace tern::emulation {
namespace {

constexpr int kNone = -1, kWarp = 32;

/// A fixed sequence of pseudo-random numbers (xorshift).
class Random {
 public:
  unsigned below(unsigned n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<unsigned>((state_ >> 11) % n);
  }

 private:
  uint64_t state_ = 0x9e3779b97f4a7c15u;
};

/// The numbers 0 to n-1: upwards, downwards, or jumbled by a stride that has no factor in common with n.
class Order {
 public:
  Order(uint64_t n, Random& random) : n_(n) {
    const unsigned way = random.below(4);
    if (way == 0) return;
    if (way == 1) {
      stride_ = n - 1;
      first_ = n - 1;
    } else {
      first_ = random.below(static_cast<unsigned>(n));
      stride_ = 1 + random.below(static_cast<unsigned>(n));
    }
    while (std::gcd(stride_, n) != 1) ++stride_;
    stride_ %= n;
  }
  uint64_t next() {
    const uint64_t now = first_;
    first_ += stride_;
    if (first_ >= n_) first_ -= n_;
    return now;
  }

 private:
  uint64_t n_, first_ = 0, stride_ = 1;
};

struct Thread {
  enum class State { unstarted, ready, waiting, done };
  State state = State::unstarted;
  Fiber* fiber = nullptr;  ///< where it is suspended
  Rendezvous place{};
  unsigned mask = 0;  ///< of a warp collective; 0: the whole block
  uint64_t value = 0;
  int source = 0;
  uint64_t result = 0;
};

const char* name_of(Rendezvous::Kind kind) {
  constexpr const char* kNames[]{"__syncthreads", "__syncthreads_count", "__syncthreads_or", "__syncthreads_and",
                                 "__syncwarp",    "a shuffle",           "a vote"};
  return kNames[static_cast<int>(kind)];
}

bool same(const Rendezvous& a, const Rendezvous& b) {
  return a.kind == b.kind && a.line == b.line && (a.file == b.file || std::string_view(a.file) == b.file);
}

/// Runs the blocks of one launch after another. Threads run until they wait or end, and hand over directly to the next.
class Executor {
 public:
  /// False: the block failed, and failure() says why.
  bool run_block(dim3 block, const std::function<void()>& thread);
  const std::string& failure() const { return failure_; }

  int lane() const { return current_ % kWarp; }
  int barrier(Rendezvous place, int predicate);
  uint64_t exchange(Rendezvous place, unsigned mask, uint64_t value, int source);
  /// Gives the block up with this failure. Nothing that it calls may own memory: its frame never ends.
  [[noreturn]] void give_up();
  void set_failure(const std::string& what) { failure_ = what; }

  Random random;

 private:
  void fiber_main(Fiber& self);
  void enter(int thread);
  int take_ready();
  void make_ready(std::span<const int> threads);
  /// Gives way until the current thread is ready again.
  void wait();
  Fiber& free_fiber();
  void release_block();
  int release_warp(unsigned mask, int first, int end, const Rendezvous& place);
  std::string describe_waiting() const;

  dim3 shape_;
  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<int> ready_;  ///< a ring: a thread is in it at most once
  size_t ready_first_ = 0, ready_count_ = 0;
  std::vector<int> warp_waiting_;  ///< lanes of each warp that wait at a warp collective
  int current_ = kNone, waiting_ = 0, done_ = 0;
  std::string failure_;
  Fiber host_;
  Fiber* running_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
};

Executor& executor() {
  static Executor one;
  return one;
}

bool Executor::run_block(dim3 block, const std::function<void()>& thread) {
  shape_ = block;
  body_ = &thread;
  threads_.assign(block.x * block.y * block.z, {});
  ready_.resize(threads_.size());
  ready_first_ = 0;
  ready_count_ = threads_.size();
  Order order(threads_.size(), random);
  for (int& thread : ready_) thread = static_cast<int>(order.next());
  warp_waiting_.assign((threads_.size() + kWarp - 1) / kWarp, 0);
  waiting_ = done_ = 0;
  failure_.clear();

  current_ = take_ready();
  running_ = &free_fiber();
  host_.switch_to(*running_);

  if (failure_.empty() && done_ != static_cast<int>(threads_.size()))
    failure_ = "the threads wait for ever: " + describe_waiting();
  if (failure_.empty()) return true;
  free_.clear();
  fibers_.clear();  // with the threads that will not go on
  return false;
}

Fiber& Executor::free_fiber() {
  if (free_.empty()) {
    auto main = [](void* self) {
      auto& executor = *static_cast<Executor*>(self);
      executor.fiber_main(*executor.running_);
    };
    fibers_.push_back(std::make_unique<Fiber>(main, this, fibers_.size()));
    return *fibers_.back();
  }
  Fiber& fiber = *free_.back();
  free_.pop_back();
  return fiber;
}

/// A fiber starts one thread after another, for as long as they do not wait.
void Executor::fiber_main(Fiber& self) {
  for (;;) {
    enter(current_);
    (*body_)();
    threads_[current_].state = Thread::State::done;
    ++done_;
    const int next = take_ready();
    if (next != kNone && threads_[next].state == Thread::State::unstarted) {
      current_ = next;
      continue;
    }
    free_.push_back(&self);
    Fiber& to = next == kNone ? host_ : *threads_[next].fiber;
    if (next != kNone) current_ = next;
    running_ = &to;
    self.switch_to(to);
  }
}

void Executor::enter(int thread) {
  const unsigned x = static_cast<unsigned>(thread);
  threadIdx = shape_.y * shape_.z == 1 ? uint3{x, 0, 0} : uint3{x % shape_.x, x / shape_.x % shape_.y, x / (shape_.x * shape_.y)};
}

int Executor::take_ready() {
  if (ready_count_ == 0) return kNone;
  const int thread = ready_[ready_first_];
  if (++ready_first_ == ready_.size()) ready_first_ = 0;
  --ready_count_;
  return thread;
}

void Executor::make_ready(std::span<const int> threads) {
  Order order(threads.size(), random);
  for (size_t i = 0; i < threads.size(); ++i) {
    const int thread = threads[order.next()];
    threads_[thread].state = Thread::State::ready;
    const size_t end = ready_first_ + ready_count_++;
    ready_[end < ready_.size() ? end : end - ready_.size()] = thread;
  }
  waiting_ -= static_cast<int>(threads.size());
}

void Executor::wait() {
  const int self = current_;
  Fiber& fiber = *running_;
  threads_[self].fiber = &fiber;
  const int next = take_ready();
  Fiber* to = &host_;
  if (next != kNone) {
    to = threads_[next].state == Thread::State::unstarted ? &free_fiber() : threads_[next].fiber;
    current_ = next;
  }
  running_ = to;
  fiber.switch_to(*to);
  enter(self);  // whoever switched back has set current_
}

void Executor::give_up() {
  Fiber& fiber = *running_;
  running_ = &host_;
  fiber.switch_to(host_);
  __builtin_unreachable();
}

int Executor::barrier(Rendezvous place, int predicate) {
  Thread& self = threads_[current_];
  self.place = place;
  self.mask = 0;
  self.value = predicate != 0;
  self.state = Thread::State::waiting;
  if (++waiting_ == static_cast<int>(threads_.size())) release_block();
  wait();
  return static_cast<int>(self.result);
}

/// Every thread waits: at one barrier, or they never go on.
void Executor::release_block() {
  uint64_t count = 0;
  for (const Thread& thread : threads_) {
    if (thread.mask != 0 || !same(thread.place, threads_[0].place)) {
      set_failure("the threads wait at different places: " + describe_waiting());
      give_up();
    }
    count += thread.value;
  }
  std::vector<int> all(threads_.size());
  std::iota(all.begin(), all.end(), 0);
  for (Thread& thread : threads_) thread.result = count;
  make_ready(all);
}

uint64_t Executor::exchange(Rendezvous place, unsigned mask, uint64_t value, int source) {
  Thread& self = threads_[current_];
  const int first = current_ / kWarp * kWarp;
  const int end = std::min(first + kWarp, static_cast<int>(threads_.size()));
  if (!((mask >> (current_ - first)) & 1u)) {
    set_failure(std::string(name_of(place.kind)) + " at " + place.file + ":" + std::to_string(place.line) +
                ": the calling lane " + std::to_string(current_ - first) + " is not in its mask");
    give_up();
  }
  self.place = place;
  self.mask = mask;
  self.value = value;
  self.source = source;
  self.state = Thread::State::waiting;
  ++waiting_;
  int& arrived = warp_waiting_[current_ / kWarp];
  ++arrived;
  const unsigned exist = end - first == kWarp ? ~0u : (1u << (end - first)) - 1;
  if (arrived >= std::popcount(mask & exist)) arrived -= release_warp(mask, first, end, place);
  wait();
  return self.result;
}

/// Gives the lanes of `mask` their results if all of them wait at this place. Returns how many it released.
int Executor::release_warp(unsigned mask, int first, int end, const Rendezvous& place) {
  int lanes[kWarp], count = 0;
  for (int i = first; i < end; ++i) {
    if (!((mask >> (i - first)) & 1u)) continue;
    const Thread& thread = threads_[i];
    if (thread.state != Thread::State::waiting || thread.mask != mask || !same(thread.place, place)) return 0;
    lanes[count++] = i;
  }
  const std::span<const int> members(lanes, static_cast<size_t>(count));
  uint64_t votes = 0;
  for (const int i : members) votes |= uint64_t{threads_[i].value != 0} << (i - first);
  for (const int i : members) {
    Thread& thread = threads_[i];
    const int source = first + (thread.source & (kWarp - 1));
    const bool takes_part = source < static_cast<int>(threads_.size()) && ((mask >> (source - first)) & 1u);
    // What a lane reads from one that takes no part is undefined: all ones, which is NaN.
    thread.result = takes_part ? threads_[source].value : ~uint64_t{0};
    if (thread.place.kind == Rendezvous::Kind::ballot) thread.result = votes;
  }
  make_ready(members);
  return count;
}

std::string Executor::describe_waiting() const {
  std::map<std::tuple<std::string, int, int, unsigned>, std::vector<int>> places;
  for (size_t i = 0; i < threads_.size(); ++i)
    if (const Thread& thread = threads_[i]; thread.state == Thread::State::waiting)
      places[{thread.place.file, thread.place.line, static_cast<int>(thread.place.kind), thread.mask}].push_back(static_cast<int>(i));
  std::ostringstream text;
  for (const auto& [place, threads] : places) {
    const auto& [file, line, kind, mask] = place;
    text << threads.size() << " at " << name_of(static_cast<Rendezvous::Kind>(kind)) << ", " << file << ":" << line;
    if (mask != 0) text << ", mask 0x" << std::hex << mask << std::dec;
    text << " (thread " << threads.front() << (threads.size() > 1 ? " and others); " : "); ");
  }
  text << done_ << " of " << threads_.size() << " have ended";
  return text.str();
}

}  // namespace

int lane_index() { return executor().lane(); }
int block_barrier(Rendezvous place, int predicate) {
  asm volatile("" ::: "memory");
  return executor().barrier(place, predicate);
}
uint64_t warp_exchange(Rendezvous place, unsigned mask, uint64_t value, int source) {
  return executor().exchange(place, mask, value, source);
}
void trap(const char* file, int line) {
  executor().set_failure(std::string("__trap at ") + file + ":" + std::to_string(line));
  executor().give_up();
}

namespace {

/// Shared memory starts as garbage: NaN in every float format.
__attribute__((no_sanitize("address"))) void scramble(std::span<const std::span<std::byte>> arrays) {
  for (const std::span<std::byte> array : arrays)
    for (std::byte& byte : array) *const_cast<volatile std::byte*>(&byte) = std::byte{0xff};
}

}  // namespace

cudaError_t run_grid(const void* kernel, dim3 grid, dim3 block, const std::function<void()>& thread) {
  Executor& runner = executor();
  gridDim = grid;
  blockDim = block;
  const std::vector<std::span<std::byte>> shared = shared_arrays(kernel);
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  Order order(blocks, runner.random);
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t b = order.next();
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    scramble(shared);
    if (runner.run_block(block, thread)) continue;
    std::fprintf(stderr, "[emulated CUDA] %s, block (%u,%u,%u) of %u threads: %s\n", kernel_name(kernel).c_str(),
                 blockIdx.x, blockIdx.y, blockIdx.z, block.x * block.y * block.z, runner.failure().c_str());
    return cudaErrorLaunchFailure;
  }
  return cudaSuccess;
}

}  // namespace tern::emulation
