#include "dist/server.h"

#include <utility>

namespace tern::dist {

Millis steady_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Server::Server(ServerOptions options, const Address& address, const Security& security, const TransportLimits& limits,
               std::function<void(const ServerEvent&)> hear)
    : core_(std::move(options)), hear_(std::move(hear)) {
  // Connections may come before listen() has returned: they wait for the lock, and flush() for the pointer.
  const std::lock_guard lock(mutex_);
  transport_ = listen(address, security, limits, *this);
}

Server::~Server() {
  if (transport_) transport_->stop(std::chrono::milliseconds(0));
}

void Server::connected(ConnectionId id, const std::string& peer) {
  {
    const std::lock_guard lock(mutex_);
    core_.connected(id, peer, steady_now());
  }
  flush();
}

void Server::received(ConnectionId id, Bytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    core_.received(id, bytes, steady_now());
  }
  flush();
}

void Server::disconnected(ConnectionId id, const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    core_.disconnected(id, why, steady_now());
  }
  flush();
}

void Server::tick() {
  {
    const std::lock_guard lock(mutex_);
    core_.tick(steady_now());
  }
  flush();
}

void Server::flush() {
  std::vector<ServerAction> actions;
  std::vector<ServerEvent> events;
  Transport* transport = nullptr;
  {
    const std::lock_guard lock(mutex_);
    transport = transport_.get();
    actions = core_.take_actions();
    events = core_.take_events();
    for (TaskResult& result : core_.take_results()) {
      results_.push_back(std::move(result));
      results_here_.notify_one();
    }
  }
  for (ServerAction& action : actions) {
    if (!action.frames.empty()) transport->send(action.connection, std::move(action.frames));
    if (action.close) transport->close(action.connection);
  }
  for (const ServerEvent& event : events) hear_(event);
}

void Server::flush_soon() {
  transport_->post([this] { flush(); });
}

void Server::publish(uint64_t version, std::shared_ptr<const std::vector<std::byte>> parameters) {
  const std::lock_guard lock(mutex_);
  core_.publish(version, std::move(parameters));
}

void Server::begin(Task task) {
  {
    const std::lock_guard lock(mutex_);
    core_.begin(std::move(task), steady_now());
  }
  flush_soon();
}

std::optional<TaskResult> Server::wait(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (!results_here_.wait_for(lock, patience, [this] { return !results_.empty(); })) return std::nullopt;
  TaskResult result = std::move(results_.front());
  results_.erase(results_.begin());
  return result;
}

void Server::committed(uint64_t step, const Digest& parameters) {
  const std::lock_guard lock(mutex_);
  core_.committed(step, parameters, steady_now());  // goes out with what comes next
}

void Server::stop(Drain::Reason reason) {
  {
    const std::lock_guard lock(mutex_);
    core_.drain(reason, steady_now());
  }
  flush_soon();
  transport_->stop(std::chrono::milliseconds(2000));
}

int Server::ready_workers() const {
  const std::lock_guard lock(mutex_);
  return core_.ready_workers();
}

int Server::ready_shards() const {
  const std::lock_guard lock(mutex_);
  return core_.ready_shards();
}

std::vector<WorkerStatus> Server::shards() const {
  const std::lock_guard lock(mutex_);
  return core_.shards(steady_now());
}

std::vector<WorkerStatus> Server::workers() const {
  const std::lock_guard lock(mutex_);
  return core_.workers(steady_now());
}

std::string Server::device_class() const {
  const std::lock_guard lock(mutex_);
  return core_.device_class();
}

ServerCounters Server::counters() const {
  const std::lock_guard lock(mutex_);
  return core_.counters();
}

}  // namespace tern::dist
