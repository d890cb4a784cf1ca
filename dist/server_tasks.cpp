#include <algorithm>
#include <utility>

#include "dist/byte_io.h"
#include "dist/server_peer.h"

/// Steps on the server: who computes which lanes, and what comes back.
namespace tern::dist {
namespace {

constexpr size_t kRemembered = 256;  // past steps

std::string text_of(LaneRange range) {
  return range.count == 1 ? "lane " + std::to_string(range.first)
                          : "lanes " + std::to_string(range.first) + " to " + std::to_string(range.end() - 1);
}

}  // namespace

// ---- results

bool ServerCore::on_grad(Peer& peer, const FrameHeader& header, Bytes payload, Millis now) {
  counters_.gradient_bytes += payload.size();
  auto& assembly = peer.assembly;
  const bool last = (header.flags & kLastPiece) != 0;
  if (header.piece == 0) {
    if (assembly) return refuse(peer, Refusal::malformed, "a result begins before the one in front of it ends");
    if (payload.size() != kResultLength || last) return refuse(peer, Refusal::malformed, "a result's first piece is not its length");
    if (!start_result(peer, header, payload)) return false;
    if (!assembly->nacked) peer.progress = now;
    return true;
  }
  if (!assembly || assembly->step != header.step || assembly->slot != header.slot || assembly->pieces != header.piece)
    return refuse(peer, Refusal::malformed, "a piece of a result is out of order");
  ++assembly->pieces;
  if (!assembly->nacked) peer.progress = now;
  if (last) return finish_result(peer, payload, now);
  if (!assembly->body) return true;
  if (payload.size() > assembly->left) return refuse(peer, Refusal::oversized, "a result is longer than it said");
  assembly->left -= payload.size();
  std::ranges::copy(payload, assembly->body->begin() + static_cast<ptrdiff_t>(assembly->left));
  return true;
}

/// Decides on a result by its first piece: take it, compare its digest, pass it over, or refuse the worker.
bool ServerCore::start_result(Peer& peer, const FrameHeader& header, Bytes payload) {
  peer.outrun.reset();
  Assembly& assembly = peer.assembly.emplace();
  assembly.step = header.step;
  assembly.slot = header.slot;
  assembly.pieces = 1;
  assembly.left = load<uint64_t>(payload.data());
  assembly.nacked = true;  // until it is wanted
  if (header.run_epoch != layout_.layout) return nack(peer, header.step, header.slot, Nack::Reason::stale_run);
  if (peer.is_shard()) return start_sum(peer, assembly);
  const auto task = open_.find(header.step);
  if (task == open_.end() || header.slot >= task->second.slots.size()) {
    assembly.nacked = !first_result(header.step, header.slot);
    return assembly.nacked ? nack(peer, header.step, header.slot, Nack::Reason::late) : true;
  }
  const Slot& slot = task->second.slots[header.slot];
  if (slot.result) {
    assembly.nacked = false;
    return true;
  }
  if (!slot.owners.contains(peer.connection) && !options_.gathers) return nack(peer, header.step, header.slot, Nack::Reason::not_assigned);
  const uint64_t wanted = wanted_bytes(task->second.task, slot.range);
  if (assembly.left != wanted)
    return refuse(peer, Refusal::oversized, "a result of " + std::to_string(assembly.left) + " bytes, wanted " + std::to_string(wanted));
  assembly.nacked = false;
  assembly.body = std::make_shared<std::vector<std::byte>>(wanted);
  return true;
}

bool ServerCore::finish_result(Peer& peer, Bytes payload, Millis now) {
  const Assembly assembly = std::move(*peer.assembly);
  peer.assembly.reset();
  if (payload.size() != sizeof(Digest)) return refuse(peer, Refusal::malformed, "a result's last piece is not its digest");
  if (assembly.nacked) return true;
  Digest digest;
  std::ranges::copy(payload, digest.begin());
  if (assembly.body && assembly.left > 0) return refuse(peer, Refusal::malformed, "a result is shorter than it said");
  if (assembly.body && digest_of(*assembly.body) != digest) return refuse(peer, Refusal::bad_checksum, "a result's digest is not that of its bytes");
  return peer.is_shard() ? finish_sum(peer, assembly, digest) : finish_slot(peer, assembly, digest, now);
}

bool ServerCore::finish_slot(Peer& peer, const Assembly& assembly, const Digest& digest, Millis now) {
  const auto found = open_.find(assembly.step);
  if (found == open_.end() || !assembly.body || found->second.slots[assembly.slot].result) return second_result(peer, assembly.step, assembly.slot, digest);
  OpenTask& task = found->second;
  if (task.task.well_formed && !task.task.well_formed(*assembly.body)) return refuse(peer, Refusal::malformed, "a result that cannot be read");
  Slot& slot = task.slots[assembly.slot];
  slot.result = SlotResult{slot.range, assembly.body, digest, peer.id};
  slot.taken = {digest, peer.hello.instance, std::nullopt};
  if (sparse()) note_holder(peer, task.task, *slot.result, slot.taken);
  ++counters_.results;
  const double took = static_cast<double>(std::max<Millis>(1, now - std::max(slot.since, peer.answered))) / 1000;
  if (peer.lane_seconds > 0) {
    note_transfer(peer, took, slot.range.count);
  } else {  // until its heartbeat says better: a lease is short only for a worker whose speed is known
    peer.lane_seconds = took / slot.range.count;
    peer.first_took = {took, slot.range.count};
  }
  peer.progress = peer.answered = now;
  send(peer, FrameType::grad_ack, {}, assembly.step, assembly.slot);
  for (const ConnectionId id : std::exchange(slot.owners, {})) {
    Peer& owner = *peers_.at(id);
    owner.owned.erase({assembly.step, assembly.slot});
    if (&owner != &peer && !owner.outrun) owner.outrun = now;
    dismiss(owner);
  }
  complete(assembly.step);
  return true;
}

/// What a slot took beyond its computing. Grows at once: what comes after the lease is refused, and would teach nothing.
void ServerCore::note_transfer(Peer& peer, double took, int lanes) {
  const double rest = std::max(0.0, took - peer.lane_seconds * lanes);
  peer.transfer_seconds = std::max(rest, 0.75 * peer.transfer_seconds + 0.25 * rest);
}

/// Hands over a task of which all is there.
void ServerCore::complete(uint64_t step) {
  OpenTask& task = open_.at(step);
  if (!std::ranges::all_of(task.slots, [](const Slot& s) { return s.result.has_value(); })) return;
  if (!std::ranges::all_of(task.sums, [](const auto& sum) { return sum.has_value(); })) return;
  TaskResult result{task.task, {}, {}};
  std::vector<PastSlot> past;
  for (Slot& s : task.slots) {
    past.push_back(s.taken);
    result.slots.push_back(*s.result);
  }
  std::ranges::sort(result.slots, {}, [](const SlotResult& s) { return s.range.first; });
  if (const SlotResult* stranger = find_stranger(task, result.slots)) return distrust(*stranger, step);
  if (!task.sums.empty()) take_sums(task, result);
  past_[step] = std::move(past);
  if (past_.size() > kRemembered) past_.erase(past_.begin());
  open_.erase(step);
  results_.push_back(std::move(result));
  ++counters_.steps;
}

/// What was taken for a slot; null: nothing, or it is forgotten.
const ServerCore::PastSlot* ServerCore::first_result(uint64_t step, uint16_t slot) const {
  if (const auto task = open_.find(step); task != open_.end())
    return slot < task->second.slots.size() && task->second.slots[slot].result ? &task->second.slots[slot].taken : nullptr;
  const auto past = past_.find(step);
  return past != past_.end() && slot < past->second.size() ? &past->second[slot] : nullptr;
}

/// A whole result for a slot that had one. The same: acknowledged again. Another: an alarm, unless it may differ.
bool ServerCore::second_result(Peer& peer, uint64_t step, uint16_t slot, const Digest& digest) {
  const PastSlot* first = first_result(step, slot);
  if (first && first->digest == digest) {
    ++counters_.duplicates;
    send(peer, FrameType::grad_ack, {}, step, slot);
    return true;
  }
  // Computed with other parameters, or without what was held back.
  if (!first || !is_exact(options_.terms.mode) || may_differ(peer, *first)) return nack(peer, step, slot, Nack::Reason::late);
  ++counters_.alarms;
  event(ServerEvent::Kind::alarm, peer, "a second result for step " + std::to_string(step) + " differs from the first: " + hex(digest) + " and " + hex(first->digest));
  return refuse(peer, Refusal::conflict, "another result for this slot was different");
}

// ---- training

void ServerCore::publish(uint64_t version, std::shared_ptr<const std::vector<std::byte>> parameters) {
  version_ = version;
  parameters_ = std::move(parameters);
  if (!options_.gathers) return;
  for (auto& [id, peer] : peers_)
    if (peer->computes()) send_parameters(*peer);
}

void ServerCore::begin(Task task, Millis now) {
  const uint64_t step = task.step;
  for (const SlotRange& slot : task.cut) open_[step].slots.push_back({{slot.first, slot.count}, {}, now, std::nullopt, {}});
  open_[step].task = std::move(task);
  if (options_.shards && !is_laid_out()) lay_out();
  schedule(now);
}

void ServerCore::committed(uint64_t step, const Digest& parameters, Millis) {
  for (auto& [id, peer] : peers_)
    if (peer->state == Peer::State::ready || peer->state == Peer::State::lapsed) send(*peer, FrameType::commit, encode(Commit{parameters}), step);
}

void ServerCore::drain(Drain::Reason reason, Millis) {
  draining_ = reason;
  open_.clear();
  for (auto& [id, peer] : peers_) {
    peer->owned.clear();
    if (peer->state == Peer::State::closing) continue;
    if (peer->id == 0) {
      refuse(*peer, Refusal::stopping, "the training has ended");
    } else {
      send(*peer, FrameType::drain, encode(Drain{reason}));
      say_goodbye(*peer);
    }
  }
}

/// Cuts a task into slots for the workers that are ready; into single lanes where each has what it held back.
void ServerCore::cut(OpenTask& task) {
  for (int lane = 0; sparse() && lane < task.task.lanes; ++lane) task.slots.push_back({{lane, 1}, {}, 0, std::nullopt, {}});
  if (sparse()) return;
  const int parties = task.task.whole_slots ? 1 : std::min(task.task.lanes, std::max<int>(1, static_cast<int>(hands().size())));
  for (const LaneRange share : share_lanes(task.task.lanes, parties))
    for (const LaneRange node : canonical_nodes(task.task.lanes, share)) task.slots.push_back({node, {}, 0, std::nullopt, {}});
}

/// Gives every slot that nobody computes to a worker.
void ServerCore::schedule(Millis now) {
  if (options_.gathers) return;
  if (!open_.empty() && lacks_shard()) lay_out();
  if (ready_workers() == 0) return;
  for (auto& [step, task] : open_) {
    const bool fresh = task.slots.empty();
    if (fresh) cut(task);
    if (fresh) assign_shards(task);
    const std::vector<Peer*> ready = hands();
    std::map<Peer*, std::vector<size_t>> given;
    for (size_t i = 0; i < task.slots.size(); ++i) {
      Slot& slot = task.slots[i];
      if (slot.result || !slot.owners.empty()) continue;
      Peer* hand = hand_for(step, slot.range, ready);
      slot.owners.insert(hand->connection);
      hand->owned.insert({step, i});
      given[hand].push_back(i);
      if (!fresh) {
        ++counters_.reassigned;
        event(ServerEvent::Kind::reassigned, *hand, "takes over " + text_of(slot.range) + " of step " + std::to_string(step));
      }
    }
    for (const auto& [id, peer] : peers_)
      if (const auto it = given.find(peer.get()); it != given.end()) assign(*peer, task, it->second, now);
  }
}

void ServerCore::assign(Peer& peer, OpenTask& task, const std::vector<size_t>& slots, Millis now) {
  Assign message{.version = version_, .epoch = task.task.epoch, .step_in_epoch = task.task.step_in_epoch, .steps = task.task.steps,
                 .loss_scale = task.task.loss_scale, .whole = task.task.whole, .slots = {}};
  if (peer.owned.size() == slots.size()) peer.progress = now;  // it was idle
  for (const size_t i : slots) {
    Slot& slot = task.slots[i];
    slot.since = now;
    message.slots.push_back({static_cast<uint16_t>(i), static_cast<uint16_t>(slot.range.first), static_cast<uint16_t>(slot.range.count),
                             carries(peer, task.task.step, slot.range)});
    if (message.slots.size() < kMostSlots && i != slots.back()) continue;
    send(peer, FrameType::assign, encode(message), task.task.step);
    message.slots.clear();
  }
  if (layout_.shards.empty()) send_parameters(peer);
}

bool ServerCore::sparse() const { return options_.terms.wire == Wire::topk; }

/// Whether the peer has what was held back of a slot's lane in the step before.
bool ServerCore::carries(const Peer& peer, uint64_t step, LaneRange range) const {
  const auto holder = holders_.find(range.first);
  return holder != holders_.end() && holder->second.step + 1 == step && holder->second.instance == peer.hello.instance;
}

/// Who computes a slot: whoever has what its lane held back, else the one with the least to do.
ServerCore::Peer* ServerCore::hand_for(uint64_t step, LaneRange range, const std::vector<Peer*>& ready) const {
  for (const auto& [id, peer] : peers_)
    if (peer->computes() && carries(*peer, step, range)) return peer.get();
  return *std::ranges::min_element(ready, {}, [&](Peer* p) { return p->lanes_owned(open_); });
}

/// Whether a second result need not be the same: one of the two workers had what the lane had held back, the other had not.
bool ServerCore::may_differ(const Peer& peer, const PastSlot& taken) const {
  return taken.holder && (*taken.holder == peer.hello.instance) != (*taken.holder == taken.instance);
}

/// From now on the peer has what the lane of a result holds back. What another had of it is lost.
void ServerCore::note_holder(const Peer& peer, const Task& task, SlotResult& result, PastSlot& taken) {
  const int lane = result.range.first;
  if (const auto before = holders_.find(lane); before != holders_.end()) {
    if (before->second.step + 1 == task.step) taken.holder = before->second.instance;
    result.dropped = !carries(peer, task.step, result.range);
  }
  if (result.dropped) {
    ++counters_.dropped;
    event(ServerEvent::Kind::dropped, peer, text_of(result.range) + " went on in step " + std::to_string(task.step) + " without what it had held back");
  }
  holders_.erase(lane);
  if (!task.whole) holders_[lane] = {peer.hello.instance, task.step};
}

/// The peer computes nothing any more: its slots are free, unless a second worker has them.
void ServerCore::take_away(Peer& peer) {
  for (const auto& [step, index] : peer.owned) open_.at(step).slots[index].owners.erase(peer.connection);
  peer.owned.clear();
}

/// Idle workers double what takes too long: the first result counts, and both are the same.
void ServerCore::speculate(Millis now) {
  for (auto& [step, task] : open_)
    for (size_t i = 0; i < task.slots.size(); ++i) {
      Slot& slot = task.slots[i];
      if (slot.result || slot.owners.size() != 1) continue;
      Peer* idle = idlest();
      if (!idle) return;
      const Peer& owner = *peers_.at(*slot.owners.begin());
      if (carries(owner, step, slot.range) != carries(*idle, step, slot.range)) continue;  // both must be the same
      const double expected = 1000 * (std::max(idle->lane_seconds, 0.001) * slot.range.count + idle->transfer_seconds);
      if (idle->lane_seconds <= 0 || static_cast<double>(now - slot.since) < options_.speculate_factor * expected + 500) continue;
      ++counters_.speculated;
      event(ServerEvent::Kind::speculated, *idle, "also computes " + text_of(slot.range) + " of step " + std::to_string(step) + ", for which worker " + std::to_string(owner.id) + " takes long");
      slot.owners.insert(idle->connection);
      idle->owned.insert({step, i});
      assign(*idle, task, {i}, now);
    }
}

/// Who gets work: ready workers. One that another outran may hang, and would delay step after step until its lease is over;
/// it gets nothing before it shows itself, unless there is nobody else.
std::vector<ServerCore::Peer*> ServerCore::hands() const {
  std::vector<Peer*> quick, all;
  for (const auto& [id, peer] : peers_) {
    if (!peer->computes()) continue;
    all.push_back(peer.get());
    if (!peer->outrun) quick.push_back(peer.get());
  }
  return quick.empty() ? all : quick;
}

/// One of them with nothing to do.
ServerCore::Peer* ServerCore::idlest() {
  for (Peer* peer : hands())
    if (peer->owned.empty()) return peer;
  return nullptr;
}

}  // namespace tern::dist
