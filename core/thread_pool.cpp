#include "core/thread_pool.h"

#include <algorithm>
#include <string>

#include "core/error.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace tern {
namespace {

// Kernels follow each other within microseconds, and waking a sleeping thread costs tens of them.
constexpr std::chrono::microseconds kSpin{100};

/// Which pool this thread works for, so that a nested call keeps the thread's slot. Set once, as the thread starts.
struct Employment {
  const void* pool = nullptr;
  int slot = 0;
};
thread_local Employment employment;

void pause_cpu() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

int available_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads) {
  if (threads < 0) throw ConfigError("[threads] wants 0 (all CPUs) or more, got " + std::to_string(threads));
  const int cpus = available_cpus();
  if (threads == 0) threads = cpus;
  // With more threads than CPUs a spinning thread only keeps a working one off its CPU.
  if (threads <= cpus) spin_for_ = kSpin;
  workers_.reserve(static_cast<size_t>(threads - 1));
  for (int slot = 1; slot < threads; ++slot) workers_.emplace_back([this, slot] { worker(slot); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

int ThreadPool::slot_of_this_thread() const { return employment.pool == this ? employment.slot : 0; }

/// Polls for a short while; false when the condition did not come true.
template <class Condition>
bool ThreadPool::spin(Condition condition) const {
  const auto deadline = std::chrono::steady_clock::now() + spin_for_;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

void ThreadPool::Call::cut(int threads) {
  share_count = static_cast<int>(std::clamp<int64_t>(count, 0, std::min(threads, kMaxShares)));
  for (int i = 0; i < share_count; ++i) {
    Share& share = shares[static_cast<size_t>(i)];
    share.next.store(count * i / share_count, std::memory_order_relaxed);
    share.end = count * (i + 1) / share_count;
  }
}

bool ThreadPool::Call::has_indices() const {
  return std::any_of(shares.begin(), shares.begin() + share_count,
                     [](const Share& share) { return share.next.load(std::memory_order_relaxed) < share.end; });
}

void ThreadPool::work(Call& call, int slot) {
  for (int i = 0; i < call.share_count; ++i) {
    Share& share = call.shares[static_cast<size_t>((slot + i) % call.share_count)];
    for (;;) {
      const int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
      // Only what is above an index that threw is dropped, so the lowest throwing index always runs.
      if (index >= share.end || index > call.error_index.load(std::memory_order_relaxed)) break;
      try {
        call.invoke(call.context, index, slot);
      } catch (...) {
        std::lock_guard lock(call.error_mutex);
        if (index < call.error_index.load(std::memory_order_relaxed)) {
          call.error = std::current_exception();
          call.error_index.store(index, std::memory_order_relaxed);
        }
      }
    }
  }
}

void ThreadPool::run(Call& call) {
  const int slot = slot_of_this_thread();
  call.cut(threads());
  if (call.count <= 1 || workers_.empty()) {
    work(call, slot);
  } else {
    int wake;
    {
      std::lock_guard lock(mutex_);
      open_.push_back(&call);
      submitted_.fetch_add(1, std::memory_order_release);
      wake = static_cast<int>(std::min<int64_t>(sleeping_, call.count - 1));
    }
    for (; wake > 0; --wake) work_.notify_one();
    work(call, slot);
    wait_for_helpers(call);
  }
  if (call.error) std::rethrow_exception(call.error);
}

void ThreadPool::wait_for_helpers(Call& call) {
  {
    std::lock_guard lock(mutex_);
    open_.erase(std::find(open_.begin(), open_.end(), &call));  // nobody joins from here on
  }
  const auto idle = [&] { return call.helpers.load(std::memory_order_acquire) == 0; };
  if (spin(idle)) return;
  std::unique_lock lock(mutex_);
  done_.wait(lock, idle);
}

/// The newest open call with indices left, which this thread has then joined; or null. mutex_ is held.
ThreadPool::Call* ThreadPool::join_open_call() {
  // Newest first: an inner call is what an outer one is waiting for.
  for (auto it = open_.rbegin(); it != open_.rend(); ++it) {
    Call& call = **it;
    if (!call.has_indices()) continue;
    call.helpers.fetch_add(1, std::memory_order_relaxed);
    return &call;
  }
  return nullptr;
}

void ThreadPool::worker(int slot) {
  employment = {this, slot};
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (Call* call = join_open_call()) {
      lock.unlock();
      work(*call, slot);
      lock.lock();
      // The caller may return, and the call be gone, as soon as the count is 0.
      if (call->helpers.fetch_sub(1, std::memory_order_release) == 1) done_.notify_all();
      continue;
    }
    const uint64_t seen = submitted_.load(std::memory_order_relaxed);
    const auto news = [&] { return submitted_.load(std::memory_order_acquire) != seen || stop_; };
    lock.unlock();
    const bool came = spin(news);
    lock.lock();
    if (came) continue;
    ++sleeping_;
    work_.wait(lock, news);
    --sleeping_;
  }
}

}  // namespace tern
