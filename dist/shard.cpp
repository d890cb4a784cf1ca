#include "dist/shard.h"

#include <utility>

#include "dist/server.h"

namespace tern::dist {
namespace {

/// What a shard tells the server of where workers reach it.
std::string advertised(const ShardOptions& options, uint16_t port) {
  if (!options.advertise.empty()) return options.advertise;
  const std::string& host = options.listen.host;
  const bool any = host.empty() || host == "0.0.0.0" || host == "::";
  return any ? ":" + std::to_string(port) : Address{host, port}.str();
}

}  // namespace

/// The connection with the server.
class Shard::Up final : public ConnectionHandler {
 public:
  explicit Up(Shard& shard) : shard_(shard) {}
  void connected(ConnectionId id, const std::string& peer) override {
    shard_.act(kSide, [&](ShardCore& core) {
      connection = id;
      if (!std::exchange(last_failure_, "").empty()) shard_.notes_.push_back("connected to " + peer);
      core.server_connected(steady_now());
    });
  }
  void received(ConnectionId id, Bytes bytes) override {
    shard_.act(kSide, [&](ShardCore& core) {
      if (id == connection) core.server_received(bytes, steady_now());
    });
  }
  void disconnected(ConnectionId id, const std::string& why) override {
    shard_.act(kSide, [&](ShardCore& core) {
      if (id == connection && id != 0) {
        connection = 0;
        core.server_disconnected(steady_now());
      }
      const bool over = core.drained() || core.left() || core.refused();
      if (std::exchange(last_failure_, why) != why && !over) shard_.notes_.push_back("no connection: " + why);
    });
  }
  void tick() override {
    shard_.act(kSide, [&](ShardCore& core) { core.server_tick(steady_now()); });
  }
  ConnectionId connection = 0;  // with the mutex held

 private:
  static constexpr Side kSide = Side::server;
  Shard& shard_;
  std::string last_failure_;
};

/// Those with workers.
class Shard::Down final : public ConnectionHandler {
 public:
  explicit Down(Shard& shard) : shard_(shard) {}
  void connected(ConnectionId id, const std::string& peer) override {
    shard_.act(kSide, [&](ShardCore& core) { core.connected(id, peer, steady_now()); });
  }
  void received(ConnectionId id, Bytes bytes) override {
    shard_.act(kSide, [&](ShardCore& core) { core.received(id, bytes, steady_now()); });
  }
  void disconnected(ConnectionId id, const std::string& why) override {
    shard_.act(kSide, [&](ShardCore& core) { core.disconnected(id, why, steady_now()); });
  }
  void tick() override {
    shard_.act(kSide, [&](ShardCore& core) { core.tick(steady_now()); });
  }

 private:
  static constexpr Side kSide = Side::workers;
  Shard& shard_;
};

Shard::Shard(ShardOptions options, const Security& security, const TransportLimits& limits,
             std::function<void(const std::string&)> note)
    : note_(std::move(note)),
      online_at_(steady_now()),
      up_(std::make_unique<Up>(*this)),
      down_(std::make_unique<Down>(*this)) {
  const std::lock_guard lock(mutex_);  // connections may come before all is there
  listener_ = listen(options.listen, security, limits, *down_);
  WorkerOptions client;
  client.hello.name = options.name;
  client.hello.instance = options.instance;
  client.hello.role = Role::shard;
  client.hello.address = advertised(options, listener_->port());
  core_.emplace(std::move(client), ServerOptions{});
  dialer_ = dial(options.server, security, limits, *up_, options.instance);
}

Shard::~Shard() { stop(); }

/// An event on a side's network thread, and what follows from it on both.
void Shard::act(Side side, const std::function<void(ShardCore&)>& event) {
  std::vector<std::string> notes;
  {
    const std::lock_guard lock(mutex_);
    if (!core_ || !dialer_) return;  // another member's constructor threw
    event(*core_);
    if (core_->online()) online_at_ = steady_now();
    notes = std::exchange(notes_, {});
    for (std::string& text : core_->take_notes()) notes.push_back(std::move(text));
    for (const ServerEvent& told : core_->take_events())
      notes.push_back(std::string(name_of(told.kind)) + ": " + told.text);
    if (side == Side::server)
      listener_->post([this] { flush_to_workers(); });
    else
      dialer_->post([this] { flush_to_server(); });
  }
  side == Side::server ? flush_to_server() : flush_to_workers();
  for (const std::string& text : notes) note_(text);
}

/// On the dialer's thread alone, so that frames go in the order in which they were made.
void Shard::flush_to_server() {
  std::vector<Outgoing> frames;
  bool close = false;
  ConnectionId connection = 0;
  {
    const std::lock_guard lock(mutex_);
    frames = core_->take_frames();
    close = core_->take_close();
    connection = up_->connection;
  }
  if (connection == 0) return;
  if (!frames.empty()) dialer_->send(connection, std::move(frames));
  if (close) dialer_->close(connection);
}

/// On the listener's.
void Shard::flush_to_workers() {
  std::vector<ServerAction> actions;
  {
    const std::lock_guard lock(mutex_);
    actions = core_->take_actions();
  }
  for (ServerAction& action : actions) {
    if (!action.frames.empty()) listener_->send(action.connection, std::move(action.frames));
    if (action.close) listener_->close(action.connection);
  }
}

Shard::Status Shard::status() const {
  const std::lock_guard lock(mutex_);
  Status status;
  status.drained = core_->drained();
  status.refused = core_->refused();
  status.left = core_->left();
  if (!core_->online()) status.offline = std::chrono::milliseconds(steady_now() - online_at_);
  status.steps = core_->steps();
  status.bytes_in = listener_->counters().bytes_in;
  status.bytes_out = listener_->counters().bytes_out;
  return status;
}

void Shard::leave() {
  const std::lock_guard lock(mutex_);
  core_->leave(steady_now());
  dialer_->post([this] { flush_to_server(); });
}

void Shard::stop() {
  if (dialer_) dialer_->stop(std::chrono::milliseconds(1000));
  if (listener_) listener_->stop(std::chrono::milliseconds(0));
}

}  // namespace tern::dist
