#pragma once
#include <functional>
#include <memory>
#include <string>

#include "dist/shard_core.h"
#include "tests/dist_sim/network.h"

namespace tern::dist::sim {

class World;

/// A process as tools/ps_shard.cpp: ShardCore with its connection to the server and those of workers to it.
class SimShard {
 public:
  SimShard(World& world, int host);

  void start();
  void kill();
  void leave();

  bool alive() const { return core_ != nullptr; }
  int host() const { return host_; }
  std::string address() const { return "shard:" + std::to_string(host_); }
  Endpoint& workers_side() { return down_; }
  /// Of all its processes.
  uint64_t steps() const { return steps_ + (core_ ? core_->steps() : 0); }

 private:
  struct Up : Endpoint {
    explicit Up(SimShard& owner) : shard(owner) {}
    void connected(ConnectionId id) override;
    void received(ConnectionId id, Bytes bytes) override;
    void disconnected(ConnectionId id, const std::string& why) override;
    SimShard& shard;
  };
  struct Down : Endpoint {
    explicit Down(SimShard& owner) : shard(owner) {}
    void connected(ConnectionId id) override;
    void received(ConnectionId id, Bytes bytes) override;
    void disconnected(ConnectionId id, const std::string& why) override;
    SimShard& shard;
  };

  void after(Millis delay, std::function<void()> what);  // unless the process is another by then
  Millis now() const;
  void dial();
  void tick();
  void flush();
  void exit(const std::string& why);

  World& world_;
  const int host_;
  Up up_{*this};
  Down down_{*this};
  std::unique_ptr<ShardCore> core_;
  uint64_t process_ = 0, steps_ = 0;
  ConnectionId connection_ = 0;  // with the server
  std::set<ConnectionId> workers_;
  Millis back_off_ = 0;
};

}  // namespace tern::dist::sim
