#include "tests/dist_sim/simulated_shard.h"

#include <algorithm>

#include "tests/dist_sim/simulated_server.h"
#include "tests/dist_sim/world.h"

namespace tern::dist::sim {

SimShard::SimShard(World& world, int host) : world_(world), host_(host) {}

Millis SimShard::now() const { return world_.clock().now(); }

void SimShard::start() {
  const Plan& plan = world_.plan();
  world_.trace(address() + " starts");
  ++process_;
  WorkerOptions options;
  options.hello.name = address();
  options.hello.instance = world_.draw().bits();
  options.hello.role = Role::shard;
  options.hello.address = address();
  options.silence = plan.silence;
  ServerOptions limits;
  limits.handshake = plan.handshake;
  limits.lease = plan.lease;
  limits.silence = plan.silence;
  limits.max_workers = 64;
  core_ = std::make_unique<ShardCore>(options, limits);
  connection_ = 0;
  workers_.clear();
  back_off_ = 100;
  dial();
  tick();
}

void SimShard::kill() {
  if (!alive()) return;
  if (connection_ != 0) world_.network().kill(connection_, kClient);
  for (const ConnectionId id : workers_) world_.network().kill(id, kServer);
  steps_ += core_->steps();
  core_.reset();
  connection_ = 0;
  ++process_;
}

void SimShard::exit(const std::string& why) {
  world_.trace(address() + " exits: " + why);
  kill();
}

void SimShard::leave() {
  if (connection_ == 0) return exit("left, offline");
  core_->leave(now());
  flush();
}

void SimShard::after(Millis delay, std::function<void()> what) {
  world_.clock().after(delay, [this, process = process_, what = std::move(what)] {
    if (process == process_) what();
  });
}

void SimShard::dial() {
  after(back_off_ / 2 + world_.draw().between(0, back_off_), [this] {
    if (connection_ != 0) return;
    back_off_ = std::min<Millis>(5000, back_off_ * 2);
    if (!world_.server().listens() || !world_.network().reachable(host_)) return dial();
    world_.network().connect(up_, world_.server(), host_);
  });
}

void SimShard::tick() {
  after(world_.plan().tick_ms, [this] {
    core_->server_tick(now());
    core_->tick(now());
    flush();
    if (alive()) tick();
  });
}

void SimShard::flush() {
  const std::vector<Outgoing> frames = core_->take_frames();
  const bool close = core_->take_close();
  const std::vector<ServerAction> actions = core_->take_actions();
  for (const std::string& note : core_->take_notes()) world_.trace(address() + ": " + note);
  for (const ServerEvent& event : core_->take_events()) {
    if (world_.tracing()) world_.trace(address() + ": " + std::string(name_of(event.kind)) + ": " + event.text);
    if (event.kind == ServerEvent::Kind::refused) world_.check_refusal(event);
    if (event.kind == ServerEvent::Kind::alarm) world_.fail("a shard has parts that differ: " + event.text);
  }
  if (connection_ != 0 && !frames.empty()) world_.network().send(connection_, kClient, frames);
  if (connection_ != 0 && close) world_.network().close(connection_, kClient);
  for (const ServerAction& action : actions) {
    world_.network().send(action.connection, kServer, action.frames);
    if (action.close) world_.network().close(action.connection, kServer);
  }
  const ServerCore* workers = core_->workers();
  if (workers && workers->pending_bytes() > static_cast<size_t>(workers->connections()) * (size_t{64} << 10))
    world_.fail("bytes pile up on a shard");
  if (core_->refused()) {
    // A bit that turned in HELLO may say anything.
    if (!world_.plan().has(Fault::flip))
      world_.fail(address() + " is turned away (" + std::string(name_of(core_->refused()->code)) +
                  "): " + core_->refused()->text);
    return exit("refused");
  }
  if (core_->drained()) return exit("drained");
  if (core_->left()) return exit("left");
}

// ---- with the server

void SimShard::Up::connected(ConnectionId id) {
  shard.connection_ = id;
  shard.back_off_ = 100;
  shard.core_->server_connected(shard.now());
  shard.flush();
}

void SimShard::Up::received(ConnectionId id, Bytes bytes) {
  if (id != shard.connection_) return;
  shard.core_->server_received(bytes, shard.now());
  shard.flush();
}

void SimShard::Up::disconnected(ConnectionId id, const std::string& why) {
  if (id != shard.connection_ || !shard.core_) return;
  shard.world_.trace(shard.address() + " is disconnected: " + why);
  shard.connection_ = 0;
  shard.core_->server_disconnected(shard.now());
  shard.flush();
  if (shard.alive()) shard.dial();
}

// ---- with workers

void SimShard::Down::connected(ConnectionId id) {
  shard.workers_.insert(id);
  shard.core_->connected(id, "host", shard.now());
  shard.flush();
}

void SimShard::Down::received(ConnectionId id, Bytes bytes) {
  if (!shard.core_) return;
  shard.core_->received(id, bytes, shard.now());
  shard.flush();
}

void SimShard::Down::disconnected(ConnectionId id, const std::string& why) {
  shard.workers_.erase(id);
  if (!shard.core_) return;
  shard.core_->disconnected(id, why, shard.now());
  shard.flush();
}

}  // namespace tern::dist::sim
