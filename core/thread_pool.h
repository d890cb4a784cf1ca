#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace tern {

/// CPUs that this process may run on (its affinity mask), at least 1.
int available_cpus();

/// A fixed set of threads that share the indices of a loop. The calling thread works too, so `threads` counts it.
///
/// Which thread runs which index is not defined: a body whose result depends on it breaks the promise that results do
/// not depend on the number of threads. All members may be called from several threads at once, and from inside a body.
class ThreadPool {
 public:
  /// Starts `threads - 1` workers; 0 means available_cpus(). Throws ConfigError when negative.
  explicit ThreadPool(int threads = 0);
  /// Joins the workers. No call may be in progress.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls `body(i)` or `body(i, slot)` once for each i in 0..count-1 and returns when all calls have returned; what
  /// they wrote is then visible to the caller. A thread takes indices one by one from a stretch of its own, which is the
  /// same part of 0..count-1 in every call, and then from the others': in the next loop over the same data it mostly
  /// finds in its caches what it wrote there itself.
  ///
  /// `slot`, in 0..threads()-1, is never shared by two threads of the same call: it indexes a workspace that belongs to
  /// the call. A nested call is a call of its own; its workers are those that are idle.
  ///
  /// When bodies throw, higher indices not yet handed out are dropped and the exception of the lowest throwing index is
  /// rethrown here once the running bodies are done: the same one for any number of threads.
  template <class Body>
  void parallel_for(int64_t count, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    Call call;
    call.context = const_cast<void*>(static_cast<const void*>(std::addressof(body)));
    call.count = count;
    call.invoke = [](void* context, int64_t index, int slot) {
      Plain& f = *static_cast<Plain*>(context);
      if constexpr (std::is_invocable_v<Plain&, int64_t, int>) {
        f(index, slot);
      } else {
        static_cast<void>(slot);
        f(index);
      }
    };
    run(call);
  }

 private:
  /// A stretch of a call's indices.
  struct alignas(64) Share {
    std::atomic<int64_t> next;  // to hand out; `end` and more: none left
    int64_t end;
  };
  static constexpr int kMaxShares = 16;  // with more threads, some begin with the same one

  /// One parallel_for: lives on its caller's stack and is in `open_` while workers may join it.
  struct Call {
    void (*invoke)(void* context, int64_t index, int slot) = nullptr;
    void* context = nullptr;
    int64_t count = 0;
    std::array<Share, kMaxShares> shares;
    int share_count = 0;
    std::atomic<int> helpers{0};  // workers inside; raised and lowered under mutex_
    std::mutex error_mutex;
    std::exception_ptr error;                                                  // guarded by error_mutex
    std::atomic<int64_t> error_index{std::numeric_limits<int64_t>::max()};  // the lowest so far; written under error_mutex

    void cut(int threads);
    bool has_indices() const;
  };

  void run(Call& call);
  void wait_for_helpers(Call& call);
  void worker(int slot);
  Call* join_open_call();
  static void work(Call& call, int slot);
  int slot_of_this_thread() const;
  template <class Condition>
  bool spin(Condition condition) const;

  std::mutex mutex_;
  std::condition_variable work_;        // for sleeping workers: submitted_ or stop_ has changed
  std::condition_variable done_;        // for callers: the last helper has left some call
  std::vector<Call*> open_;             // guarded by mutex_
  int sleeping_ = 0;                    // guarded by mutex_
  std::atomic<uint64_t> submitted_{0};  // calls so far; written under mutex_, polled without it
  std::atomic<bool> stop_{false};
  std::chrono::nanoseconds spin_for_{0};
  std::vector<std::thread> workers_;
};

}  // namespace tern
