#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dist/shard_core.h"
#include "dist/transport.h"

namespace tern::dist {

struct ShardOptions {
  std::string name;       ///< for people
  uint64_t instance = 0;  ///< drawn at start
  Address server;         ///< whose shard it is
  Address listen;         ///< where workers come to
  std::string advertise;  ///< HOST:PORT that they are told; "": the address of `listen` where that is one, else whence
                          ///< the server sees it come
};

/// ShardCore on a real network: two threads of its own. Every function may be called from any thread.
class Shard {
 public:
  /// Listens and begins to connect. `note` is told what people should know, on a network thread. Throws Error,
  /// ConfigError as listen() and dial() do.
  Shard(ShardOptions options, const Security& security, const TransportLimits& limits,
        std::function<void(const std::string&)> note);
  ~Shard();

  /// How it stands. At most one of the first three says something.
  struct Status {
    std::optional<Drain::Reason> drained;
    std::optional<ErrorMessage> refused;
    bool left = false;
    std::optional<std::chrono::milliseconds> offline;  ///< there has been no server for so long
    uint64_t steps = 0;                                ///< that it added up
    uint64_t bytes_in = 0, bytes_out = 0;              ///< frames, with workers
  };
  Status status() const;
  uint16_t port() const { return listener_->port(); }
  void leave();
  /// Ends all connections. Called once.
  void stop();

 private:
  class Up;
  class Down;
  enum class Side { server, workers };
  void act(Side side, const std::function<void(ShardCore&)>& event);
  void flush_to_server();
  void flush_to_workers();

  mutable std::mutex mutex_;
  std::function<void(const std::string&)> note_;
  std::optional<ShardCore> core_;
  std::vector<std::string> notes_;
  Millis online_at_;
  std::unique_ptr<Up> up_;
  std::unique_ptr<Down> down_;
  std::unique_ptr<Transport> listener_, dialer_;  // last: their threads use the others
};

}  // namespace tern::dist
