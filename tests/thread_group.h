#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "dist/group.h"

/// Ranks that are threads of one process.
namespace tern::test {

/// What lies between the ranks: messages by sender and receiver, in order.
struct Mail {
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> boxes;
  size_t bytes = 0;  ///< sent so far
  bool broken = false;  ///< a rank has failed: nobody waits for its messages
};

/// What abort() throws.
struct Aborted {
  int code;
};

class ThreadGroup : public dist::Group {
 public:
  ThreadGroup(Mail& mail, int rank, int size) : mail_(mail), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return rank_; }
  dist::GroupCaps caps() const override { return {.bitwise = true}; }
  dist::OnFailure on_failure() const override { return dist::OnFailure::fatal; }
  void exchange(std::span<const dist::RankSend> sends, std::span<const dist::RankReceive> receives, dist::Memory) override {
    std::unique_lock lock(mail_.mutex);
    for (const dist::RankSend& send : sends) {
      mail_.boxes[{rank_, send.to}].emplace_back(send.bytes.begin(), send.bytes.end());
      mail_.bytes += send.bytes.size();
    }
    mail_.arrived.notify_all();
    for (const dist::RankReceive& receive : receives) {
      auto& box = mail_.boxes[{receive.from, rank_}];
      mail_.arrived.wait(lock, [&] { return !box.empty() || mail_.broken; });
      if (box.empty()) throw PeerLostError("a rank has failed");
      if (box.front().size() != receive.bytes.size()) throw Error("a message of another size than was expected");
      std::memcpy(receive.bytes.data(), box.front().data(), receive.bytes.size());
      box.pop_front();
    }
  }
  [[noreturn]] void abort(int code) override { throw Aborted{code}; }

 private:
  Mail& mail_;
  int rank_, size_;
};

/// Runs `work` on every rank and rethrows the first error.
inline void run_ranks(Mail& mail, int size, const std::function<void(dist::Group&)>& work) {
  std::vector<std::thread> threads;
  std::exception_ptr error;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      ThreadGroup group(mail, rank, size);
      try {
        work(group);
      } catch (...) {
        const std::lock_guard lock(mail.mutex);
        if (!error) error = std::current_exception();
        mail.broken = true;
        mail.arrived.notify_all();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace tern::test
