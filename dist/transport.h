#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/frame.h"
#include "dist/security.h"

/// Sockets under the protocol: TCP with TLS 1.3, one network thread, bounded queues. Bytes and connections only: what they
/// mean is the cores' business (dist/server_core.h, dist/worker_core.h).
namespace tern::dist {

struct Address {
  std::string host;  ///< a name, IPv4, or IPv6 without brackets
  uint16_t port = 0;
  std::string str() const;  ///< "host:port", "[::1]:port"
};
/// "HOST:PORT", "[V6]:PORT", ":PORT" (all interfaces; for listening). Throws ConfigError naming `what`.
Address parse_address(const std::string& text, const std::string& what);

using ConnectionId = uint64_t;  ///< never used again

/// A frame on its way out. Payloads may be shared between connections: nothing is copied before the socket or TLS does.
struct Outgoing {
  std::array<std::byte, kHeaderBytes> header;
  Bytes payload;
  std::shared_ptr<const void> keep;  ///< owns what `payload` points at
};

/// Hears of connections, on the network thread. Nothing may be thrown.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  virtual void connected(ConnectionId id, const std::string& peer) = 0;  ///< after the TLS handshake: it is authentic
  virtual void received(ConnectionId id, Bytes bytes) = 0;
  virtual void disconnected(ConnectionId id, const std::string& why) = 0;
  virtual void tick() = 0;  ///< every 50 ms
};

struct TransportLimits {
  std::chrono::milliseconds handshake{5000};    ///< from accept or connect to the end of the TLS handshake
  int per_address = 64;                         ///< connections from one address, handshakes included; 127.0.0.1 too
  int total = 4096;
  size_t send_queue = size_t{256} << 20;        ///< bytes waiting for one connection besides the largest that was sent in one call; beyond them it is closed
  std::chrono::milliseconds stalled{10000};     ///< bytes are waiting and none could be sent for that long: closed
};

/// Counts since construction; read from any thread.
struct TransportCounters {
  std::atomic<uint64_t> bytes_in{0}, bytes_out{0};            ///< frames: what the protocol moves
  std::atomic<uint64_t> wire_bytes_in{0}, wire_bytes_out{0};  ///< TCP payload: with TLS records and handshakes
  std::atomic<uint64_t> handshakes_failed{0}, handshakes_timed_out{0}, refused_over_limit{0}, stalled{0};
};

/// What server and client have in common once a connection is there.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Runs `task` on the network thread, soon.
  virtual void post(std::function<void()> task) = 0;
  /// Queues frames in order. On the network thread only. Ignored for a connection that is gone.
  virtual void send(ConnectionId id, std::vector<Outgoing> frames) = 0;
  /// Closes when what was queued is sent, or after a second. `disconnected` follows. On the network thread only.
  virtual void close(ConnectionId id) = 0;
  virtual const TransportCounters& counters() const = 0;
  /// Ends the network thread; connections are closed, after what is queued is sent or `linger`. Called once, from outside it.
  virtual void stop(std::chrono::milliseconds linger = std::chrono::milliseconds(1000)) = 0;
  virtual uint16_t port() const = 0;  ///< that a listener listens on; 0 for a dialer
};

/// Listens at once and starts the network thread. Throws Error when the address cannot be listened on, ConfigError when
/// `security` is insecure and the address is not a loopback one. `handler` must outlive the transport.
std::unique_ptr<Transport> listen(const Address& address, const Security& security, const TransportLimits& limits,
                                  ConnectionHandler& handler);

/// Keeps one connection to the server: connects, and after a loss again, with back-off doubling from 0.1 s to 5 s and
/// jitter of up to half of it. Each failed attempt is a disconnected() with id 0 and the reason (name unknown, refused,
/// "the server does not know this token"). `security` as for listen. `seed` draws the jitter.
std::unique_ptr<Transport> dial(const Address& address, const Security& security, const TransportLimits& limits,
                                ConnectionHandler& handler, uint64_t seed);

}  // namespace tern::dist
