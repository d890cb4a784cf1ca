#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dist/server_core.h"
#include "dist/transport.h"

namespace tern::dist {

/// ServerCore on a real network: a thread of its own talks to the workers while the training thread waits for results.
/// Every function may be called from any thread.
class Server final : public ConnectionHandler {
 public:
  /// Listens at once. `hear` is told of events, on the network thread. Throws Error, ConfigError as listen() does.
  Server(ServerOptions options, const Address& address, const Security& security, const TransportLimits& limits,
         std::function<void(const ServerEvent&)> hear);
  ~Server() override;

  void publish(uint64_t version, std::shared_ptr<const std::vector<std::byte>> parameters);
  void begin(Task task);
  /// The next whole result, or nothing after `patience`.
  std::optional<TaskResult> wait(std::chrono::milliseconds patience);
  void committed(uint64_t step, const Digest& parameters);
  /// Sends the workers home and ends. Called once.
  void stop(Drain::Reason reason);

  int ready_workers() const;
  int ready_shards() const;
  std::vector<WorkerStatus> workers() const;
  std::vector<WorkerStatus> shards() const;
  ServerCounters counters() const;
  std::string device_class() const;
  const TransportCounters& transport_counters() const { return transport_->counters(); }
  uint16_t port() const { return transport_->port(); }

 private:
  void connected(ConnectionId id, const std::string& peer) override;
  void received(ConnectionId id, Bytes bytes) override;
  void disconnected(ConnectionId id, const std::string& why) override;
  void tick() override;
  void flush();  // on the network thread, without the lock
  void flush_soon();

  mutable std::mutex mutex_;
  std::condition_variable results_here_;
  ServerCore core_;
  std::vector<TaskResult> results_;
  std::function<void(const ServerEvent&)> hear_;
  std::unique_ptr<Transport> transport_;  // last: its thread uses the others
};

/// Milliseconds on the steady clock.
Millis steady_now();

}  // namespace tern::dist
