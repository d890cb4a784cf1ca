#pragma once
#include <asio/ip/tcp.hpp>
#include <deque>

#include "dist/transport.h"
#include "dist/transport_tls.h"

/// One connection of a transport. Internal to it; everything here happens on the network thread.
namespace tern::dist {

class Network;
using Clock = std::chrono::steady_clock;

/// A socket with its TLS and its queue. The network owns it until it is gone; handlers in flight keep it alive.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// `remote` is whom `socket` was connected to (it may have hung up since, and the system then no longer knows).
  /// `tls` null: plain text. `server`: this side accepted the connection.
  Connection(Network& network, ConnectionId id, asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote,
             std::unique_ptr<TlsSession> tls, bool server);

  void start();  ///< the handshake, or straight to open
  void send(std::vector<Outgoing> frames);
  /// Sends what is queued and ends, at the latest at `deadline`. Nothing is received any more.
  void close(Clock::time_point deadline);
  void check(Clock::time_point now);  ///< ends it when a deadline has passed
  void end(const std::string& why);   ///< at once

  ConnectionId id() const { return id_; }
  const asio::ip::tcp::endpoint& remote() const { return remote_; }
  bool handshaking() const { return state_ == State::handshake; }
  bool was_open() const { return was_open_; }  ///< connected() was called
  bool has_received() const { return has_received_; }
  Clock::time_point since() const { return since_; }

 private:
  enum class State { handshake, open, closing, gone };

  void wait_readable();
  void read();
  void take(Bytes wire);
  bool take_plain_text(Bytes wire);
  void opened();
  void deliver(Bytes plain);
  void handshake_failed(const std::string& why);

  void schedule_flush();
  void flush();
  void wait_writable();
  bool gather();
  void encrypt_some();
  Bytes front() const;
  void advance(size_t bytes);
  void drained();
  void encryption_failed();
  void write_failed(const asio::error_code& error);
  bool anything_to_send() const { return !queue_.empty() || (tls_ && !tls_->output().empty()); }

  Network& network_;
  const ConnectionId id_;
  const bool server_;
  asio::ip::tcp::socket socket_;
  const asio::ip::tcp::endpoint remote_;
  const Clock::time_point since_ = Clock::now();
  std::unique_ptr<TlsSession> tls_;

  State state_ = State::handshake;
  bool was_open_ = false, has_received_ = false;
  bool flush_scheduled_ = false, waits_to_write_ = false, finished_ = false, shut_ = false;
  std::string why_;             ///< what ended it, where that is something else than the socket's end
  Clock::time_point deadline_;  ///< of the handshake or of closing
  Clock::time_point progress_;  ///< when bytes were last sent, or began to wait
  std::deque<Outgoing> queue_;
  size_t largest_ = 0;     ///< bytes that were sent in one call, at most
  size_t queued_ = 0;      ///< bytes in queue_, less those of its front that are done
  size_t front_done_ = 0;  ///< bytes of queue_.front() that were sent or encrypted
};

}  // namespace tern::dist
