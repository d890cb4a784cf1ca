#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dist/server_core.h"
#include "dist/worker_core.h"

namespace tern::dist {

/// A shard: a part of the flat arena of gradients. Workers send it that part of their results; it adds them in the
/// canonical tree, sends the server the sum, and hands the workers the same part of the parameters that the server
/// makes of it. To the server it is a client, to workers a server that gives nothing to compute. It keeps nothing that
/// the server could not do without: when it is gone, steps begin anew with those that are left. Without sockets,
/// threads and clocks.
class ShardCore {
 public:
  /// Its HELLO says role and address. `limits`: of the workers' side, with whatever terms.
  ShardCore(WorkerOptions options, ServerOptions limits);

  // Of the network towards the server.
  void server_connected(Millis now);
  void server_received(Bytes bytes, Millis now);
  void server_disconnected(Millis now);
  void server_tick(Millis now);
  std::vector<Outgoing> take_frames() { return server_.take_frames(); }
  bool take_close() { return server_.take_close(); }

  // Towards workers.
  void connected(ConnectionId id, const std::string& peer, Millis now);
  void received(ConnectionId id, Bytes bytes, Millis now);
  void disconnected(ConnectionId id, const std::string& why, Millis now);
  void tick(Millis now);
  std::vector<ServerAction> take_actions();
  std::vector<ServerEvent> take_events();

  std::vector<std::string> take_notes() { return server_.take_notes(); }
  std::optional<Drain::Reason> drained() const { return server_.drained(); }
  const std::optional<ErrorMessage>& refused() const { return server_.refused(); }
  bool left() const { return server_.left(); }
  bool online() const { return server_.online(); }
  void leave(Millis now) { server_.leave(now); }
  /// Its part: all of it, while there is none.
  const Shards& layout() const { return server_.layout(); }
  const ServerCore* workers() const { return workers_.get(); }
  uint64_t steps() const { return steps_; }

 private:
  void go_on(Millis now);
  void follow_layout();
  void add_up(const TaskResult& result, Millis now);
  std::vector<float> floats_of(Bytes part) const;

  const ServerOptions limits_;
  const uint64_t instance_;
  WorkerCore server_;
  std::unique_ptr<ServerCore> workers_;  // of the layout; none where it has no part
  std::set<ConnectionId> connections_;
  std::vector<ServerAction> actions_;
  uint64_t layout_ = 0;   // of workers_
  uint64_t greeted_ = 0;  // the server's WELCOMEs that were answered
  uint64_t count_ = 0;    // floats of its part
  uint16_t place_ = 0;    // in the layout
  std::optional<uint64_t> published_;
  uint64_t steps_ = 0;
};

}  // namespace tern::dist
