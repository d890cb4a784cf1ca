#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "tests/catch.h"

namespace tern {
namespace {

/// How often each index ran.
std::vector<int> counts_of(ThreadPool& pool, int64_t count) {
  std::vector<int> runs(static_cast<size_t>(count), 0);
  pool.parallel_for(count, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
  return runs;
}

}  // namespace

TEST_CASE("thread pool: every index runs exactly once", "[thread_pool]") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int64_t count : {0, 1, 2, 3, 7, 64, 1000}) {
      const std::vector<int> runs = counts_of(pool, count);
      CHECK(std::all_of(runs.begin(), runs.end(), [](int n) { return n == 1; }));
    }
  }
}

TEST_CASE("thread pool: a count of zero or less runs nothing", "[thread_pool]") {
  ThreadPool pool(2);
  bool ran = false;
  pool.parallel_for(0, [&](int64_t) { ran = true; });
  pool.parallel_for(-3, [&](int64_t) { ran = true; });
  CHECK_FALSE(ran);
}

TEST_CASE("thread pool: 0 means the CPUs of this process, negative is refused", "[thread_pool]") {
  CHECK(ThreadPool().threads() == available_cpus());
  CHECK_THROWS_AS(ThreadPool(-1), ConfigError);
}

TEST_CASE("thread pool: tasks run on several threads at once", "[thread_pool]") {
  // Each task waits for the other: this ends only when two threads are at work.
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived{0};
    pool.parallel_for(2, [&](int64_t) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    CHECK(arrived == 2);
  }
}

TEST_CASE("thread pool: slots are in range and never shared at the same time", "[thread_pool]") {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::vector<std::atomic<int>> inside(kThreads);
  std::atomic<int> bad{0};
  pool.parallel_for(2000, [&](int64_t, int slot) {
    if (slot < 0 || slot >= kThreads || inside[static_cast<size_t>(slot)].fetch_add(1) != 0) ++bad;
    std::this_thread::yield();
    inside[static_cast<size_t>(slot)].fetch_sub(1);
  });
  CHECK(bad == 0);
}

TEST_CASE("thread pool: nested calls finish, with distinct slots in each call", "[thread_pool]") {
  constexpr int kThreads = 3;
  ThreadPool pool(kThreads);
  std::atomic<int64_t> sum{0};
  std::atomic<int> bad{0};
  pool.parallel_for(6, [&](int64_t i) {
    std::vector<std::atomic<int>> inside(kThreads);
    pool.parallel_for(5, [&](int64_t j, int slot) {
      if (inside[static_cast<size_t>(slot)].fetch_add(1) != 0) ++bad;
      pool.parallel_for(4, [&](int64_t k) { sum += i * 100 + j * 10 + k; });
      inside[static_cast<size_t>(slot)].fetch_sub(1);
    });
  });
  int64_t want = 0;
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 5; ++j)
      for (int k = 0; k < 4; ++k) want += i * 100 + j * 10 + k;
  CHECK(sum == want);
  CHECK(bad == 0);
}

TEST_CASE("thread pool: the lowest throwing index's exception comes back, and the pool lives on", "[thread_pool]") {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> running{0};
      std::string message;
      try {
        pool.parallel_for(100, [&](int64_t i) {
          ++running;
          if (i >= 7) {
            --running;
            throw std::runtime_error("index " + std::to_string(i));
          }
          std::this_thread::yield();
          --running;
        });
      } catch (const std::runtime_error& e) {
        message = e.what();
      }
      CHECK(message == "index 7");
      CHECK(running == 0);
    }
    const std::vector<int> runs = counts_of(pool, 100);
    CHECK(std::accumulate(runs.begin(), runs.end(), 0) == 100);
  }
}

TEST_CASE("thread pool: an exception leaves nested calls through every level", "[thread_pool]") {
  ThreadPool pool(3);
  CHECK_THROWS_AS(pool.parallel_for(4,
                                    [&](int64_t) {
                                      pool.parallel_for(4, [&](int64_t j) {
                                        if (j == 2) throw DataError("inner");
                                      });
                                    }),
                  DataError);
}

TEST_CASE("thread pool: several threads may call it at once", "[thread_pool]") {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  std::atomic<int> caught{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int round = 0; round < 200; ++round) {
        int64_t parts[16] = {};
        pool.parallel_for(16, [&](int64_t i) { parts[i] = i; });
        sum += std::accumulate(std::begin(parts), std::end(parts), int64_t{0});
        try {
          pool.parallel_for(4, [&](int64_t i) {
            if (i == c) throw std::runtime_error("mine");
          });
        } catch (const std::runtime_error&) {
          ++caught;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(sum == 4 * 200 * 120);
  CHECK(caught == 4 * 200);
}

TEST_CASE("thread pool: a call's writes are visible after it, over many short calls", "[thread_pool]") {
  ThreadPool pool(2);
  std::vector<int64_t> values(8, 0);
  for (int64_t round = 1; round <= 5000; ++round) {
    pool.parallel_for(8, [&](int64_t i) { values[static_cast<size_t>(i)] += i; });
    if (round % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // lets the workers fall asleep
  }
  for (int64_t i = 0; i < 8; ++i) CHECK(values[static_cast<size_t>(i)] == 5000 * i);
}

}  // namespace tern
