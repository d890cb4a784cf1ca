#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dist/transport.h"
#include "dist/worker_hub.h"

namespace tern::dist {

/// WorkerHub on a real network: threads of their own keep the connections while the computing thread asks for work.
/// Every function may be called from any thread.
class Worker final {
 public:
  /// Begins to connect. `note` is told what people should know, on a network thread.
  Worker(WorkerOptions options, const Address& server, const Security& security, const TransportLimits& limits,
         std::function<void(const std::string&)> note);
  ~Worker();

  /// What to do next. Exactly one of its members says something.
  struct Next {
    std::optional<Work> work;
    bool new_terms = false;  ///< terms() are there, or changed: ready() or refuse() is due
    std::optional<Drain::Reason> drained;   ///< the training is over
    std::optional<ErrorMessage> refused;    ///< the server will not have this worker
    bool left = false;       ///< after leave()
    std::optional<std::chrono::milliseconds> offline;  ///< there has been no server for so long
    bool nothing() const { return !work && !new_terms && !drained && !refused && !left; }
  };
  /// Waits for something to do, at most `patience`; then there is nothing() in the answer.
  Next wait(std::chrono::milliseconds patience);

  Welcome terms() const;
  void ready(const Digest& model, const Digest& data);
  void refuse(Refusal why, const std::string& text);
  bool wanted(const Work& work) const;
  void send_part(const Work& work, const std::shared_ptr<const std::vector<std::byte>>& body, size_t from);
  void finish(const Work& work, std::shared_ptr<const std::vector<std::byte>> body, double lane_seconds);
  void progressed();
  void leave();
  /// Ends the connection after what is queued is sent. Called once.
  void stop();

 private:
  class Line;

  void act(Line& line, const std::function<void()>& event);
  void wake();
  void follow_links();
  void dial_shard(const ShardLink& link);
  void tell_notes();

  const Security security_;
  const TransportLimits limits_;
  const uint64_t instance_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  WorkerHub hub_;
  std::optional<Welcome> seen_terms_;
  Millis online_at_;
  std::vector<std::string> own_notes_;
  std::function<void(const std::string&)> note_;
  std::vector<std::unique_ptr<Line>> shards_;
  std::unique_ptr<Line> server_;  // last: its thread uses the others
};

}  // namespace tern::dist
