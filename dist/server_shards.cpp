#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "dist/server_peer.h"

/// Shards on the server: who adds up which part of the gradients. Every change of that is a layout of its own, in which
/// open steps begin anew: results say to which layout they belong, so that no step has parts of two.
namespace tern::dist {
namespace {

constexpr int kRunEpochBits = 40;  // of a layout's number

/// Where workers reach a shard: as it says, or, where that has no host, whence it comes.
std::string address_of_shard(const std::string& peer, const std::string& said) {
  return (said.starts_with(':') ? peer.substr(0, peer.rfind(':')) : "") + said;
}

}  // namespace

bool ServerCore::is_reachable(const std::string& peer, const std::string& said) {
  const std::string address = address_of_shard(peer, said);
  try {
    return parse_address(address, "").port != 0 && address.size() <= kLongestAddress;
  } catch (const ConfigError&) {
    return false;
  }
}

/// Those that are ready, in the order in which they came.
std::vector<const ServerCore::Peer*> ServerCore::find_shards() const {
  std::vector<const Peer*> found;
  for (const auto& [id, peer] : peers_)
    if (peer->is_shard() && peer->state == Peer::State::ready) found.push_back(peer.get());
  if (found.size() > kMostShards) found.resize(kMostShards);
  return found;
}

/// Whether the layout has all that are ready, and no other. More shards than floats would have nothing.
bool ServerCore::is_laid_out() const {
  std::vector<const Peer*> ready = find_shards();
  ready.resize(std::min<size_t>(ready.size(), options_.terms.parameters));
  return std::ranges::equal(ready, shard_connections_, {}, [](const Peer* peer) { return peer->connection; });
}

/// Whether one of the layout's is gone: then the steps under way cannot be ended in it.
bool ServerCore::lacks_shard() const {
  return std::ranges::any_of(shard_connections_, [&](ConnectionId id) {
    const auto found = peers_.find(id);
    return found == peers_.end() || found->second->state != Peer::State::ready;
  });
}

/// Deals the floats to the shards that are ready; without any, everything comes to the server. Open steps begin anew.
void ServerCore::lay_out() {
  std::vector<const Peer*> ready = find_shards();
  ready.resize(std::min<size_t>(ready.size(), options_.terms.parameters));
  layout_ = {options_.run_epoch | ++layouts_ << kRunEpochBits, {}};
  shard_connections_.clear();
  const uint64_t each = ready.empty() ? 0 : options_.terms.parameters / ready.size(),
                 more = ready.empty() ? 0 : options_.terms.parameters % ready.size();
  uint64_t first = 0;
  for (const Peer* shard : ready) {
    const uint64_t count = each + (shard_connections_.size() < more ? 1 : 0);
    layout_.shards.push_back({shard->hello.instance, address_of_shard(shard->peer, shard->hello.address), first, count});
    shard_connections_.push_back(shard->connection);
    first += count;
  }
  for (auto& [step, task] : open_) {
    task.slots.clear();
    task.sums.clear();
  }
  for (auto& [id, peer] : peers_) {
    peer->owned.clear();
    peer->version.reset();
    if (peer->assembly) peer->assembly->nacked = true;
    if (dismiss(*peer)) continue;
    if (peer->state == Peer::State::ready || peer->state == Peer::State::lapsed) tell_layout(*peer);
  }
  events_.push_back({ServerEvent::Kind::sharded, 0,
                     layout_.shards.empty() ? "gradients come to the server"
                                            : "gradients go to " + std::to_string(layout_.shards.size()) +
                                                  (layout_.shards.size() == 1 ? " shard" : " shards")});
}

void ServerCore::tell_layout(Peer& peer) { send(peer, FrameType::shards, encode(layout_)); }

/// Tells shards of a step's slots, and then the parameters to compute it with: whoever has these from a shard may send
/// it results.
void ServerCore::assign_shards(OpenTask& task) {
  if (layout_.shards.empty()) return;
  task.sums.resize(layout_.shards.size());
  Assign message{.version = version_,
                 .epoch = task.task.epoch,
                 .step_in_epoch = task.task.step_in_epoch,
                 .steps = task.task.steps,
                 .loss_scale = task.task.loss_scale,
                 .whole = false,
                 .slots = {}};
  for (size_t k = 0; k < shard_connections_.size(); ++k) {
    Peer& shard = *peers_.at(shard_connections_[k]);
    for (size_t i = 0; i < task.slots.size(); ++i) {
      const LaneRange range = task.slots[i].range;
      message.slots.push_back(
          {static_cast<uint16_t>(i), static_cast<uint16_t>(range.first), static_cast<uint16_t>(range.count)});
      const bool last = i + 1 == task.slots.size();
      if (message.slots.size() < kMostSlots && !last) continue;
      send(shard, FrameType::assign, encode(message), task.task.step, static_cast<uint16_t>(k), last ? kLastPiece : 0);
      message.slots.clear();
    }
    send_parameters(shard);
  }
}

/// Of a worker's result: with shards it has, instead of the gradient, the digests of its parts.
uint64_t ServerCore::wanted_bytes(const Task& task, LaneRange range) const {
  const uint64_t whole = task.result_bytes(range);
  return layout_.shards.empty() ? whole : whole - task.gradient_bytes + layout_.shards.size() * sizeof(Digest);
}

/// A shard's sum: the digests of the slots' parts that it has added, in the order of lanes, and the floats.
bool ServerCore::start_sum(Peer& peer, Assembly& assembly) {
  const auto task = open_.find(assembly.step);
  const bool known = task != open_.end() && assembly.slot < task->second.sums.size();
  if (!known || shard_connections_[assembly.slot] != peer.connection || task->second.sums[assembly.slot])
    return nack(peer, assembly.step, assembly.slot, Nack::Reason::late);
  const uint64_t wanted =
      task->second.slots.size() * sizeof(Digest) + layout_.shards[assembly.slot].count * sizeof(float);
  if (assembly.left != wanted)
    return refuse(peer, Refusal::oversized,
                  "a sum of " + std::to_string(assembly.left) + " bytes, wanted " + std::to_string(wanted));
  assembly.nacked = false;
  assembly.body = std::make_shared<std::vector<std::byte>>(wanted);
  return true;
}

bool ServerCore::finish_sum(const Peer& peer, const Assembly& assembly, const Digest& digest) {
  open_.at(assembly.step).sums.at(assembly.slot) = SlotResult{{}, assembly.body, digest, peer.id};
  complete(assembly.step);
  return true;
}

/// The first slot whose worker told other digests than those of what the shards have added; null: there is none.
const SlotResult* ServerCore::find_stranger(const OpenTask& task, const std::vector<SlotResult>& slots) const {
  const size_t shards = task.sums.size();
  for (size_t i = 0; i < slots.size(); ++i)
    for (size_t k = 0; k < shards; ++k) {
      const Bytes told =
          Bytes(*slots[i].body).last(shards * sizeof(Digest)).subspan(k * sizeof(Digest), sizeof(Digest));
      if (!std::ranges::equal(told, Bytes(*task.sums[k]->body).subspan(i * sizeof(Digest), sizeof(Digest))))
        return &slots[i];
    }
  return nullptr;
}

/// A step whose parts do not belong together is computed again, without the worker that told so.
void ServerCore::distrust(const SlotResult& stranger, uint64_t step) {
  ++counters_.alarms;
  for (auto& [id, peer] : peers_) {
    if (peer->id != stranger.worker || peer->state == Peer::State::closing) continue;
    event(ServerEvent::Kind::alarm, *peer,
          "its result for step " + std::to_string(step) + " is not what shards have of it");
    refuse(*peer, Refusal::conflict, "what shards have of this result was different");
    break;
  }
  lay_out();
}

/// The gradient from its parts; what slots have instead of it is cut off.
void ServerCore::take_sums(OpenTask& task, TaskResult& result) {
  result.gradient = std::make_shared<std::vector<float>>(options_.terms.parameters);
  for (size_t k = 0; k < task.sums.size(); ++k) {
    const Bytes sum = Bytes(*task.sums[k]->body).subspan(task.slots.size() * sizeof(Digest));
    std::memcpy(result.gradient->data() + layout_.shards[k].first, sum.data(), sum.size());
  }
  for (SlotResult& slot : result.slots) slot.body->resize(slot.body->size() - task.sums.size() * sizeof(Digest));
}

}  // namespace tern::dist
