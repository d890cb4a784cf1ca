#include "dist/rendezvous.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "core/error.h"

namespace tern::dist {
namespace {

using Clock = std::chrono::steady_clock;

/// What a rank sends when it has connected.
struct Greeting {
  char magic[8] = {'t', 'e', 'r', 'n', 'r', 'a', 'n', 'k'};
  uint32_t rank = 0, size = 0, bytes = 0;
};

class Socket {
 public:
  explicit Socket(int number = -1) : number_(number) {}
  Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

std::string place(const Placement& p) { return p.address + ":" + std::to_string(p.port); }

[[noreturn]] void fail(const Placement& placement, const std::string& what) {
  throw PeerLostError("ranks meet at MASTER_ADDR:MASTER_PORT, " + place(placement) + ": " + what);
}

std::string reason() { return std::generic_category().message(errno); }

/// Waits until the socket is ready for `events`; false once the time is over.
bool wait_for(int socket, short events, Clock::time_point end) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd entry{socket, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

/// Moves all bytes; false when the other side closed or the time is over.
template <class Byte, class Move>
bool move_all(int socket, short events, std::span<Byte> bytes, Clock::time_point end, Move move) {
  while (!bytes.empty()) {
    if (!wait_for(socket, events, end)) return false;
    const ssize_t moved = move(socket, bytes.data(), bytes.size());
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(moved));
  }
  return true;
}

bool send_all(int socket, std::span<const std::byte> bytes, Clock::time_point end) {
  return move_all(socket, POLLOUT, bytes, end, [](int s, const void* from, size_t n) { return ::send(s, from, n, MSG_NOSIGNAL); });
}

bool receive_all(int socket, std::span<std::byte> bytes, Clock::time_point end) {
  return move_all(socket, POLLIN, bytes, end, [](int s, void* to, size_t n) { return ::recv(s, to, n, 0); });
}

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first) ::freeaddrinfo(first);
  }
};

void resolve(const Placement& placement, bool to_listen, AddressList& list) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  // Rank 0 listens on every address of its machine: how the others call it is their business.
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  const int error = ::getaddrinfo(to_listen ? nullptr : placement.address.c_str(), std::to_string(placement.port).c_str(), &hints, &list.first);
  if (error != 0) fail(placement, ::gai_strerror(error));
}

Socket listen_at(const Placement& placement) {
  AddressList list;
  resolve(placement, true, list);
  std::string why = "no address";
  for (const addrinfo* at = list.first; at; at = at->ai_next) {
    Socket socket(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
    const int on = 1;
    ::setsockopt(socket.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (socket.number() >= 0 && ::bind(socket.number(), at->ai_addr, at->ai_addrlen) == 0 && ::listen(socket.number(), 1024) == 0)
      return socket;
    why = reason();
  }
  fail(placement, "rank 0 cannot listen: " + why);
}

void serve(const Placement& placement, std::span<const std::byte> bytes, Clock::time_point end) {
  const Socket listener = listen_at(placement);
  std::set<uint32_t> met;
  while (std::ssize(met) < placement.size - 1) {
    if (!wait_for(listener.number(), POLLIN, end))
      fail(placement, "only " + std::to_string(met.size() + 1) + " of " + std::to_string(placement.size) + " ranks came in time");
    const Socket peer(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
    if (peer.number() < 0) continue;
    Greeting greeting;
    const Greeting own;
    // A stranger must not hold up the ranks.
    const auto soon = std::min(end, Clock::now() + std::chrono::seconds(5));
    if (!receive_all(peer.number(), std::as_writable_bytes(std::span(&greeting, 1)), soon)) continue;
    if (std::memcmp(greeting.magic, own.magic, sizeof own.magic) != 0) continue;
    if (greeting.size != static_cast<uint32_t>(placement.size) || greeting.bytes != bytes.size() || greeting.rank == 0 || greeting.rank >= greeting.size)
      throw ConfigError("rank " + std::to_string(greeting.rank) + " takes part in a training of " + std::to_string(greeting.size) +
                        " ranks, rank 0 in one of " + std::to_string(placement.size));
    if (!met.insert(greeting.rank).second) throw ConfigError("two processes say that they are rank " + std::to_string(greeting.rank));
    if (!send_all(peer.number(), bytes, soon)) fail(placement, "rank " + std::to_string(greeting.rank) + " went away");
  }
}

/// True when rank 0 has given its bytes; false where it is not there yet.
bool ask(const Placement& placement, const AddressList& list, std::span<std::byte> bytes, Clock::time_point end) {
  for (const addrinfo* at = list.first; at; at = at->ai_next) {
    const Socket socket(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
    if (socket.number() < 0 || ::connect(socket.number(), at->ai_addr, at->ai_addrlen) != 0) continue;
    Greeting greeting;
    greeting.rank = static_cast<uint32_t>(placement.rank);
    greeting.size = static_cast<uint32_t>(placement.size);
    greeting.bytes = static_cast<uint32_t>(bytes.size());
    if (send_all(socket.number(), std::as_bytes(std::span(&greeting, 1)), end) && receive_all(socket.number(), bytes, end)) return true;
    fail(placement, "rank 0 closed the connection");
  }
  return false;
}

}  // namespace

std::vector<std::byte> share_from_rank_0(const Placement& placement, std::span<const std::byte> bytes, std::chrono::seconds timeout) {
  if (placement.size > 1 && (placement.address.empty() || placement.port == 0))
    throw ConfigError(std::string(placement.address.empty() ? "MASTER_ADDR" : "MASTER_PORT") +
                      " is not set: ranks meet at MASTER_ADDR:MASTER_PORT, an address of rank 0's machine and a free port there");
  std::vector<std::byte> shared(bytes.begin(), bytes.end());
  const Clock::time_point end = Clock::now() + timeout;
  if (placement.rank == 0) {
    if (placement.size > 1) serve(placement, bytes, end);
    return shared;
  }
  AddressList list;
  resolve(placement, false, list);
  while (!ask(placement, list, shared, end)) {
    if (Clock::now() >= end) fail(placement, "nobody answers: " + reason());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return shared;
}

}  // namespace tern::dist
