#include "tools/ps_shard.h"

#include <chrono>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "dist/shard.h"
#include "tools/exit_codes.h"
#include "tools/interrupt.h"

namespace tern {
namespace {

using namespace std::chrono_literals;

/// What the network threads note is told by the main thread, whose Progress is.
class Notes {
 public:
  void add(const std::string& text) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(text);
  }
  void tell(Progress& progress) {
    std::vector<std::string> notes;
    {
      const std::lock_guard lock(mutex_);
      notes = std::exchange(waiting_, {});
    }
    for (const std::string& text : notes) progress.message(text);
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> waiting_;
};

dist::ShardOptions shard_options(const ShardArgs& args) {
  std::random_device random;
  return {.name = args.name,
          .instance = (uint64_t{random()} << 32) | random(),
          .server = args.server,
          .listen = args.listen,
          .advertise = args.advertise};
}

[[noreturn]] void throw_refusal(const dist::ErrorMessage& refusal) {
  const std::string text =
      "the server refuses this shard (" + std::string(dist::name_of(refusal.code)) + "): " + refusal.text;
  if (refusal.code == dist::Refusal::not_wanted || refusal.code == dist::Refusal::bad_version) throw ConfigError(text);
  throw PeerLostError(text);
}

}  // namespace

int run_shard(const ShardArgs& args, Progress& progress) {
  Notes notes;
  dist::Shard shard(shard_options(args), args.security, {}, [&](const std::string& text) { notes.add(text); });
  progress.message("listening on " + dist::Address{args.listen.host, shard.port()}.str() + " for workers, a shard of " +
                   args.server.str());
  bool leaving = false;
  const auto end = [&](const dist::Shard::Status& status, const std::string& why, int code) {
    shard.stop();
    notes.tell(progress);
    progress.message(why + "; " + std::to_string(status.steps) + " steps added up, frame_bytes_in " +
                     std::to_string(status.bytes_in) + ", frame_bytes_out " + std::to_string(status.bytes_out));
    return code;
  };
  while (true) {
    notes.tell(progress);
    const dist::Shard::Status status = shard.status();
    if (status.drained)
      return end(status,
                 *status.drained == dist::Drain::Reason::complete ? "the training is complete" : "the server stops", 0);
    if (status.left) return end(status, "left", 128 + InterruptGuard::signal());
    if (status.refused) throw_refusal(*status.refused);
    if (status.offline && *status.offline > args.reconnect)
      throw PeerLostError("no server at " + args.server.str() + " for " +
                          std::to_string(args.reconnect.count() / 1000) + " s");
    if (InterruptGuard::signal() != 0 && !std::exchange(leaving, true)) {
      if (status.offline) return end(status, "left", 128 + InterruptGuard::signal());
      shard.leave();
    }
    std::this_thread::sleep_for(50ms);
  }
}

}  // namespace tern
