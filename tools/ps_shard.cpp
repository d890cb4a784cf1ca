#include "tools/ps_shard.h"

#include <chrono>
#include <thread>
#include <utility>

#include "dist/shard.h"
#include "tools/exit_codes.h"
#include "tools/interrupt.h"
#include "tools/ps_client.h"

namespace tern {
namespace {

using namespace std::chrono_literals;

dist::ShardOptions shard_options(const ShardArgs& args) {
  return {.name = args.name,
          .instance = draw_instance(),
          .server = args.server,
          .listen = args.listen,
          .advertise = args.advertise};
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
    if (status.refused) throw_refusal(*status.refused, "shard");
    if (status.offline && *status.offline > args.reconnect)
      throw PeerLostError("no server at " + args.server.str() + " for " +
                          std::to_string(args.reconnect.count() / 1000) + " s");
    if (InterruptGuard::signal() != 0) {
      if (status.offline) return end(status, "left", 128 + InterruptGuard::signal());
      if (!std::exchange(leaving, true)) shard.leave();
    }
    std::this_thread::sleep_for(50ms);
  }
}

}  // namespace tern
