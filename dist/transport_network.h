#pragma once
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <thread>
#include <unordered_map>

#include "dist/transport_connection.h"

/// What listener and dialer share: the network thread, its connections, deadlines, the way down. Internal to the
/// transport.
namespace tern::dist {

inline constexpr size_t kReadBytes = size_t{256} << 10;   ///< at most this much in one read
inline constexpr size_t kRecordBytes = size_t{16} << 10;  ///< plain text in one TLS record
inline constexpr auto kLinger = std::chrono::seconds(1);  ///< what close() gives queued bytes

/// A derived class calls start() at the end of its constructor and stop() in its destructor.
class Network : public Transport {
 public:
  Network(const TransportLimits& limits, ConnectionHandler& handler);

  void post(std::function<void()> task) final;
  void send(ConnectionId id, std::vector<Outgoing> frames) final;
  void close(ConnectionId id) final;
  const TransportCounters& counters() const final { return counters_; }
  void stop(std::chrono::milliseconds linger) final;

  // For connections.
  asio::io_context& io() { return io_; }
  const TransportLimits& limits() const { return limits_; }
  TransportCounters& count() { return counters_; }
  ConnectionHandler& handler() { return handler_; }
  /// Buffers that one connection uses at a time, between two waits.
  std::span<std::byte> wire_buffer() { return wire_; }
  std::span<std::byte> plain_buffer() { return plain_; }
  std::vector<asio::const_buffer>& gathered() { return gathered_; }
  /// A connection's last call: it is forgotten, and the handler told if it had been told of it.
  void ended(Connection& connection, const std::string& why);

 protected:
  void start();
  /// Makes a connection of a socket that is connected and starts it. `tls` null: plain text.
  void adopt(asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote, std::unique_ptr<TlsSession> tls,
             bool server);
  size_t connections() const { return connections_.size(); }
  bool stopping() const { return stopping_; }

  virtual void on_tick(Clock::time_point) {}                 ///< deadlines of its own
  virtual void on_ended(Connection&, const std::string&) {}  ///< after the handler was told
  virtual void halt() = 0;                                   ///< no new connections from now on

 private:
  void wait_tick();
  void tick();
  void begin_stop(std::chrono::milliseconds linger);

  const TransportLimits limits_;
  ConnectionHandler& handler_;
  TransportCounters counters_;
  asio::io_context io_{1};
  asio::steady_timer timer_{io_};
  std::unordered_map<ConnectionId, std::shared_ptr<Connection>> connections_;
  ConnectionId last_id_ = 0;
  bool stopping_ = false;
  std::vector<std::byte> wire_, plain_;
  std::vector<asio::const_buffer> gathered_;
  std::thread thread_;
};

/// An address as it is counted and judged: IPv4 mapped into IPv6 is IPv4.
asio::ip::address plain_address(const asio::ip::address& address);
bool is_loopback(const asio::ip::address& address);
/// "127.0.0.1:4000"
std::string name_of(const asio::ip::tcp::endpoint& endpoint);
/// What a failed call to the system means: "connection refused".
std::string words_for(const std::error_code& error);

}  // namespace tern::dist
