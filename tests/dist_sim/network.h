#pragma once
#include <array>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "dist/transport.h"
#include "tests/dist_sim/clock.h"
#include "tests/dist_sim/draw.h"

namespace tern::dist::sim {

/// One end of connections.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual void connected(ConnectionId id) = 0;
  virtual void received(ConnectionId id, Bytes bytes) = 0;
  virtual void disconnected(ConnectionId id, const std::string& why) = 0;
};

enum Side { kClient, kServer };

struct NetworkPlan {
  Millis latency_low = 1, latency_high = 5;
  double slices = 0.2;      ///< that what arrives comes in several pieces
  double duplicates = 0;    ///< of whole frames
  double flips = 0;         ///< that a bit of what is sent at once turns
  double after_close = 0;   ///< that a side which is closing still hears what comes
};

/// Streams of bytes between clients on hosts and one server: late, in pieces, cut, held up, doubled, damaged.
class Network {
 public:
  Network(Clock& clock, Draw& draw, NetworkPlan plan) : clock_(clock), draw_(draw), plan_(plan) {}

  ConnectionId connect(Endpoint& client, Endpoint& server, int host);
  void send(ConnectionId id, Side from, const std::vector<Outgoing>& frames);
  void send(ConnectionId id, Side from, std::vector<std::byte> bytes);
  /// As the transport does: what was sent goes first, then both hear of it.
  void close(ConnectionId id, Side from);
  /// The process on that side is killed: it hears nothing more, and the other side of the end of the stream.
  void kill(ConnectionId id, Side side);
  /// Both sides lose the connection, with what is under way.
  void reset(ConnectionId id);
  /// Only this side does; the other finds out by itself.
  void vanish(ConnectionId id, Side side);
  /// Resets when so many more bytes have arrived from that side.
  void reset_after(ConnectionId id, Side from, int64_t bytes);

  void block(int host, Side from) { blocked_[{host, from}] = true; }
  void heal(int host);
  bool reachable(int host) { return !blocked_[{host, kClient}] && !blocked_[{host, kServer}]; }
  void set_plan(const NetworkPlan& plan) { plan_ = plan; }
  const NetworkPlan& plan() const { return plan_; }

  std::vector<ConnectionId> connections() const;
  size_t most_under_way() const { return most_under_way_; }

 private:
  struct Pipe {
    std::deque<std::pair<std::vector<std::byte>, bool>> held;  // bytes, or the end of the stream
    Millis last = 0;
    int64_t reset_after = -1;
    size_t under_way = 0;
  };
  struct Link {
    int host = 0;
    std::array<Endpoint*, 2> ends{};
    std::array<bool, 2> closing{};
    std::array<Pipe, 2> pipes;  // by the side that sends
  };

  void push(ConnectionId id, Side from, std::vector<std::byte> bytes, bool end);
  void arrive(ConnectionId id, Side from, std::vector<std::byte> bytes, bool end);
  void arrive_now(ConnectionId id, Side from, std::vector<std::byte> bytes, bool end);
  void deliver(ConnectionId id, Side to, Bytes bytes);
  void end(ConnectionId id, Side side, const std::string& why);
  Millis latency() { return draw_.between(plan_.latency_low, plan_.latency_high); }

  Clock& clock_;
  Draw& draw_;
  NetworkPlan plan_;
  std::map<ConnectionId, Link> links_;
  std::map<std::pair<int, Side>, bool> blocked_;
  ConnectionId next_ = 1;
  size_t most_under_way_ = 0;
};

}  // namespace tern::dist::sim
