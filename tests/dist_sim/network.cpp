#include "tests/dist_sim/network.h"

#include <utility>

namespace tern::dist::sim {
namespace {

constexpr Millis kLinger = 1000;  // the transport's patience with a close
Side other(Side side) { return side == kClient ? kServer : kClient; }

}  // namespace

ConnectionId Network::connect(Endpoint& client, Endpoint& server, int host) {
  const ConnectionId id = next_++;
  links_[id] = Link{.host = host, .ends = {&client, &server}, .closing = {}, .pipes = {}};
  server.connected(id);
  if (links_.contains(id)) client.connected(id);
  return id;
}

void Network::send(ConnectionId id, Side from, const std::vector<Outgoing>& frames) {
  std::vector<std::byte> bytes;
  for (const Outgoing& frame : frames) {
    const int times = draw_.chance(plan_.duplicates) ? 2 : 1;
    for (int i = 0; i < times; ++i) {
      bytes.insert(bytes.end(), frame.header.begin(), frame.header.end());
      bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
    }
  }
  send(id, from, std::move(bytes));
}

void Network::send(ConnectionId id, Side from, std::vector<std::byte> bytes) {
  const auto link = links_.find(id);
  if (link == links_.end() || !link->second.ends[from] || link->second.closing[from] || bytes.empty()) return;
  if (draw_.chance(plan_.flips)) {
    const uint64_t bit = draw_.bits() % (bytes.size() * 8);
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  push(id, from, std::move(bytes), false);
}

void Network::push(ConnectionId id, Side from, std::vector<std::byte> bytes, bool end) {
  Pipe& pipe = links_.at(id).pipes[from];
  pipe.last = std::max(pipe.last, clock_.now() + latency());
  pipe.under_way += bytes.size();
  most_under_way_ = std::max(most_under_way_, pipe.under_way);
  clock_.after(pipe.last - clock_.now(), [this, id, from, bytes = std::move(bytes), end]() mutable { arrive(id, from, std::move(bytes), end); });
}

void Network::arrive(ConnectionId id, Side from, std::vector<std::byte> bytes, bool last) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Link& link = found->second;
  Pipe& pipe = link.pipes[from];
  if (blocked_[{link.host, from}] || !pipe.held.empty()) {
    pipe.held.emplace_back(std::move(bytes), last);
    return;
  }
  arrive_now(id, from, std::move(bytes), last);
}

void Network::arrive_now(ConnectionId id, Side from, std::vector<std::byte> bytes, bool last) {
  Pipe& pipe = links_.at(id).pipes[from];
  pipe.under_way -= bytes.size();
  if (last) return end(id, other(from), "closed by the peer");
  const bool cut = pipe.reset_after >= 0 && pipe.reset_after <= static_cast<int64_t>(bytes.size());
  if (cut) bytes.resize(static_cast<size_t>(pipe.reset_after));
  if (pipe.reset_after >= 0) pipe.reset_after -= static_cast<int64_t>(bytes.size());
  deliver(id, other(from), bytes);
  if (cut) reset(id);
}

void Network::deliver(ConnectionId id, Side to, Bytes bytes) {
  const bool slices = draw_.chance(plan_.slices);
  while (!bytes.empty()) {
    const auto link = links_.find(id);
    if (link == links_.end() || !link->second.ends[to]) return;
    if (link->second.closing[to] && !draw_.chance(plan_.after_close)) return;
    const size_t size = slices ? 1 + draw_.bits() % std::min<size_t>(bytes.size(), 80) : bytes.size();
    link->second.ends[to]->received(id, bytes.first(size));
    bytes = bytes.subspan(size);
  }
}

void Network::close(ConnectionId id, Side from) {
  const auto link = links_.find(id);
  if (link == links_.end() || !link->second.ends[from] || link->second.closing[from]) return;
  push(id, from, {}, true);
  link->second.closing[from] = true;
  const bool stuck = blocked_[{link->second.host, from}];
  clock_.after(stuck ? kLinger : draw_.between(0, 20), [this, id, from] { end(id, from, "closed"); });
}

void Network::end(ConnectionId id, Side side, const std::string& why) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Endpoint* there = std::exchange(found->second.ends[side], nullptr);
  if (!there) return;
  // A stream that ends on one side is soon closed on the other.
  if (!found->second.closing[side]) push(id, side, {}, true);
  if (!found->second.ends[other(side)]) links_.erase(found);
  there->disconnected(id, why);
}

void Network::kill(ConnectionId id, Side side) {
  const auto link = links_.find(id);
  if (link == links_.end() || !link->second.ends[side]) return;
  if (!link->second.closing[side]) push(id, side, {}, true);
  vanish(id, side);
}

void Network::vanish(ConnectionId id, Side side) {
  const auto link = links_.find(id);
  if (link == links_.end()) return;
  link->second.ends[side] = nullptr;
  if (!link->second.ends[other(side)]) links_.erase(link);
}

void Network::reset(ConnectionId id) {
  const auto link = links_.find(id);
  if (link == links_.end()) return;
  const std::array<Endpoint*, 2> ends = link->second.ends;
  links_.erase(link);
  for (Endpoint* there : ends)
    if (there) there->disconnected(id, "reset");
}

void Network::reset_after(ConnectionId id, Side from, int64_t bytes) {
  if (const auto link = links_.find(id); link != links_.end()) link->second.pipes[from].reset_after = bytes;
}

void Network::heal(int host) {
  blocked_[{host, kClient}] = blocked_[{host, kServer}] = false;
  for (const ConnectionId id : connections())
    for (const Side from : {kClient, kServer})
      while (links_.contains(id) && links_.at(id).host == host && !links_.at(id).pipes[from].held.empty()) {
        auto [bytes, last] = std::move(links_.at(id).pipes[from].held.front());
        links_.at(id).pipes[from].held.pop_front();
        arrive_now(id, from, std::move(bytes), last);
      }
}

std::vector<ConnectionId> Network::connections() const {
  std::vector<ConnectionId> ids;
  for (const auto& [id, link] : links_) ids.push_back(id);
  return ids;
}

}  // namespace tern::dist::sim
