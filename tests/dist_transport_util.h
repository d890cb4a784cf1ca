#pragma once
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "dist/transport.h"
#include "tests/temp_dir.h"

/// Both ends of connections for tests of the transport.
namespace tern::dist::testing {

inline constexpr std::chrono::seconds kPatience{30};  // what should take milliseconds, on a machine that is busy

inline const Address kAnyPort{"127.0.0.1", 0};
inline Address local(uint16_t port) { return {"127.0.0.1", port}; }

/// A handler that notes what it hears, for the test's thread to wait for.
class Peer final : public ConnectionHandler {
 public:
  /// What it does by itself, on the network thread.
  std::function<void(ConnectionId)> on_connected;
  std::function<void(ConnectionId, Bytes)> on_received;

  void connected(ConnectionId id, const std::string& peer) override;
  void received(ConnectionId id, Bytes bytes) override;
  void disconnected(ConnectionId id, const std::string& why) override;
  void tick() override;

  struct Ended {
    ConnectionId id;
    std::string why;
  };
  struct Heard {
    std::vector<ConnectionId> connected;
    std::vector<Ended> ended;
    std::vector<std::byte> bytes;
    int ticks = 0;
  };
  /// Waits until `enough` of what was heard; false when that takes too long. `enough` is called under the lock.
  bool wait(const std::function<bool(const Heard&)>& enough);
  Heard heard() const;
  /// Waits for a connection and gives its id; 0 when none comes.
  ConnectionId wait_connected(size_t count = 1);
  /// Waits for the first end of a connection or attempt and gives the reason.
  std::string wait_ended(size_t count = 1);

 private:
  template <class Change>
  void note(const Change& change) {
    {
      const std::lock_guard lock(mutex_);
      change(heard_);
    }
    news_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable news_;
  Heard heard_;
};

/// Frames that carry `bytes` (at least a header's length of them), with payloads of all kinds of lengths.
std::vector<Outgoing> frames_of(std::shared_ptr<const std::vector<std::byte>> bytes);
std::shared_ptr<const std::vector<std::byte>> random_bytes(size_t count, uint64_t seed);
/// Sends from the network thread.
void send(Transport& transport, ConnectionId id, std::shared_ptr<const std::vector<std::byte>> bytes);
/// Waits until `counter` is at least `value`.
bool wait_count(const std::atomic<uint64_t>& counter, uint64_t value);

Security insecure();
Security with_token(int byte = 7);

/// An authority with certificates for a server (localhost, 127.0.0.1, ::1) and a client, made anew as PEM files.
class Authority {
 public:
  Authority();
  Security server() const { return security("server"); }
  Security client() const { return security("client"); }
  /// Certificates that name another host, and that another authority must vouch for.
  Security elsewhere() const { return security("elsewhere"); }

 private:
  Security security(const std::string& name) const;
  test::TempDir dir_;
};

/// A blocking TCP client without a transport, for what a good one does not do.
class RawClient {
 public:
  explicit RawClient(uint16_t port);  ///< to 127.0.0.1
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  void send(std::string_view bytes);
  std::string read_to_end();  ///< until the peer hangs up, or patience ends ("timed out")
  bool hung_up() { return read_to_end() != "timed out"; }
  void reset();  ///< closes with a TCP reset
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace tern::dist::testing
