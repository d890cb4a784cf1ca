#include "dist/server_core.h"

#include <algorithm>
#include <utility>

#include "dist/server_peer.h"

namespace tern::dist {
std::string_view name_of(Mode mode) {
  constexpr std::string_view names[kModes] = {"bsp", "asp", "ssp", "epoch"};
  return names[static_cast<size_t>(mode)];
}

bool is_exact(Mode mode) { return mode == Mode::bsp || mode == Mode::epoch; }

std::string_view name_of(ServerEvent::Kind kind) {
  constexpr std::string_view names[] = {"joined", "ready", "left", "lost", "lapsed", "recovered", "reassigned", "speculated", "dropped", "sharded", "other build", "refused", "alarm"};
  return names[static_cast<size_t>(kind)];
}

int ServerCore::Peer::lanes_owned(const std::map<uint64_t, OpenTask>& open) const {
  int lanes = 0;
  for (const auto& [step, slot] : owned) lanes += open.at(step).slots[slot].range.count;
  return lanes;
}

ServerCore::ServerCore(ServerOptions options) : options_(std::move(options)) {
  encode(options_.terms);  // throws here what would else be thrown at the first worker
  layout_.layout = options_.run_epoch;
}
ServerCore::~ServerCore() = default;

// ---- connections

void ServerCore::connected(ConnectionId id, const std::string& address, Millis now) {
  auto peer = std::make_unique<Peer>();
  peer->connection = id;
  peer->peer = address;
  peer->opened = peer->heard = now;
  Peer& added = *(peers_[id] = std::move(peer));
  if (peers_.size() > options_.max_workers) refuse(added, Refusal::too_many, "the server has " + std::to_string(options_.max_workers) + " workers");
}

void ServerCore::received(ConnectionId id, Bytes bytes, Millis now) {
  const auto found = peers_.find(id);
  if (found == peers_.end() || found->second->state == Peer::State::closing) return;
  Peer& peer = *found->second;
  peer.bytes_in += bytes.size();
  const Refusal fault = peer.decoder.feed(bytes, [&](const FrameHeader& header, Bytes payload) {
    return on_frame(peer, header, payload, now) && peer.state != Peer::State::closing;
  });
  if (fault != Refusal::none && peer.state != Peer::State::closing) refuse(peer, fault, "what came is no frame of tern");
  schedule(now);
}

void ServerCore::disconnected(ConnectionId id, const std::string& why, Millis now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  const bool expected = found->second->state == Peer::State::closing || found->second->state == Peer::State::leaving;
  Peer& peer = *found->second;
  take_away(peer);
  if (peer.id != 0) {
    ++(expected ? counters_.left : counters_.lost);
    event(expected ? ServerEvent::Kind::left : ServerEvent::Kind::lost, peer, why);
  }
  peers_.erase(found);
  schedule(now);
}

void ServerCore::tick(Millis now) {
  std::vector<ConnectionId> silent;
  for (auto& [id, peer] : peers_) {
    if (peer->state == Peer::State::closing) continue;
    if (peer->state == Peer::State::connected) {
      if (now - peer->opened > options_.handshake) refuse(*peer, Refusal::too_slow, "no HELLO in time");
      continue;
    }
    if (now - peer->heard > options_.silence) {
      silent.push_back(id);
      continue;
    }
    const bool owes = !peer->owned.empty();
    if (owes && now - peer->progress > lease_of(*peer) && (peer->computes() || peer->state == Peer::State::leaving)) {
      ++counters_.lapsed;
      event(ServerEvent::Kind::lapsed, *peer, "no progress for " + std::to_string(now - peer->progress) + " ms: its lanes go to others");
      take_away(*peer);
      if (peer->computes()) peer->state = Peer::State::lapsed;
      if (dismiss(*peer)) continue;
    }
    if (now - peer->beat_sent >= options_.terms.heartbeat_ms) {
      peer->beat_sent = now;
      send(*peer, FrameType::heartbeat);
    }
  }
  for (const ConnectionId id : silent)
    refuse(*peers_.at(id), Refusal::too_slow, "nothing heard for " + std::to_string(options_.silence) + " ms");
  speculate(now);
  schedule(now);
}

Millis ServerCore::lease_of(const Peer& peer) const {
  // Of an unknown speed: the first lane may take long, and the heartbeats still show that the process lives.
  if (peer.lane_seconds <= 0) return std::max<Millis>(options_.lease * 10, options_.silence);
  const int lanes = std::max(1, peer.lanes_owned(open_));
  return std::max<Millis>(options_.lease, static_cast<Millis>(options_.lease_factor * 1000 * (peer.lane_seconds * lanes + peer.transfer_seconds)));
}

// ---- frames in

bool ServerCore::on_frame(Peer& peer, const FrameHeader& header, Bytes payload, Millis now) {
  if (header.seq < peer.received_seq) {  // a frame that the network brought twice
    ++counters_.duplicates;
    return true;
  }
  if (header.seq > peer.received_seq) return refuse(peer, Refusal::malformed, "frames are missing");
  ++peer.received_seq;
  peer.heard = now;
  if (peer.state == Peer::State::connected) {
    if (header.type == FrameType::hello) return on_hello(peer, payload, now);
    return refuse(peer, Refusal::illegal_type, name_of(header.type) + " before HELLO");
  }
  switch (header.type) {
    case FrameType::heartbeat: return on_heartbeat(peer, header, payload, now);
    case FrameType::grad:
      if (peer.state == Peer::State::preparing) return refuse(peer, Refusal::illegal_type, "GRAD from a worker that is not ready");
      return on_grad(peer, header, payload, now);
    case FrameType::drain: {
      const auto drain = decode<Drain>(payload);
      if (!drain) return refuse(peer, Refusal::malformed, "DRAIN does not parse");
      peer.state = Peer::State::leaving;
      return !dismiss(peer);
    }
    case FrameType::bye:
      hang_up(peer);
      return false;
    case FrameType::error: {
      const auto error = decode<ErrorMessage>(payload);
      if (!error) return refuse(peer, Refusal::malformed, "ERROR does not parse");
      ++counters_.refused[static_cast<size_t>(error->code)];
      event(ServerEvent::Kind::refused, peer, "the worker refuses (" + std::string(name_of(error->code)) + "): " + error->text);
      hang_up(peer);
      return false;
    }
    default: return refuse(peer, Refusal::illegal_type, name_of(header.type) + " is not a worker's to send now");
  }
}

bool ServerCore::on_hello(Peer& peer, Bytes payload, Millis now) {
  const auto hello = decode<Hello>(payload);
  if (!hello) return refuse(peer, Refusal::malformed, "HELLO does not parse");
  if (hello->oldest_major > kMajor || hello->newest_major < kMajor)
    return refuse(peer, Refusal::bad_version, "the server speaks version " + std::to_string(kMajor));
  if (draining_) return refuse(peer, Refusal::stopping, "the training has ended");
  if (options_.gathers != (hello->role == Role::link))
    return refuse(peer, Refusal::not_wanted, options_.gathers ? "this is a shard: workers come to the server that it belongs to" : "this is no shard");
  if (hello->role == Role::shard && !options_.shards) return refuse(peer, Refusal::not_wanted, "the server was not told to take shards (--shards)");
  if (hello->role == Role::worker && options_.one_device_class && !options_.device_class.empty() && hello->device_class != options_.device_class)
    return refuse(peer, Refusal::device_mismatch, "the run computes on '" + options_.device_class + "', this worker on '" + hello->device_class + "': the bits would differ");
  if (hello->role == Role::shard && !is_reachable(peer.peer, hello->address))
    return refuse(peer, Refusal::malformed, "workers cannot reach a shard at '" + hello->address + "'");
  for (auto& [id, other] : peers_)  // a worker that came back before its old connection was missed
    if (other->id != 0 && other->state != Peer::State::closing && other->hello.instance == hello->instance) {
      hang_up(*other);
    }
  peer.hello = *hello;
  peer.id = next_worker_++;
  peer.state = Peer::State::preparing;
  peer.progress = peer.beat_sent = now;
  Welcome welcome = options_.terms;
  welcome.worker = peer.id;
  send(peer, FrameType::welcome, encode(welcome));
  ++counters_.joined;
  event(ServerEvent::Kind::joined, peer, "from " + peer.peer + (peer.is_shard() ? ", a shard" : ", " + hello->device_class + ", " + std::to_string(hello->threads) + " threads"));
  if (hello->role == Role::worker && options_.one_device_class && hello->build != options_.build)
    event(ServerEvent::Kind::other_build, peer, "is tern " + hello->build + ", the server " + options_.build + ": their bits may differ");
  return true;
}

bool ServerCore::on_heartbeat(Peer& peer, const FrameHeader&, Bytes payload, Millis now) {
  const auto beat = decode<Heartbeat>(payload);
  if (!beat) return refuse(peer, Refusal::malformed, "HEARTBEAT does not parse");
  const bool moved = beat->lanes_done != peer.lanes_done;
  peer.lanes_done = beat->lanes_done;
  if (beat->lane_seconds > 0) {
    peer.lane_seconds = beat->lane_seconds;
    if (const auto first = std::exchange(peer.first_took, {})) note_transfer(peer, first->first, first->second);
  }
  if (moved || peer.owned.empty()) peer.progress = now;
  // One heartbeat of a worker that waits may have crossed with its work; a lease later it has had none.
  if (moved || (beat->state == WorkerState::ready && peer.outrun && now - *peer.outrun > options_.lease)) peer.outrun.reset();
  if (peer.state == Peer::State::preparing && beat->state == WorkerState::ready) return admit(peer, *beat, now);
  // A thread that hangs still leaves heartbeats: what counts is that it has finished something, or waits for work.
  if (peer.state == Peer::State::lapsed && (moved || beat->state == WorkerState::ready)) {
    peer.state = Peer::State::ready;
    event(ServerEvent::Kind::recovered, peer, "is back");
    send(peer, FrameType::rebase, {}, open_.empty() ? version_ : open_.begin()->first);
  }
  return true;
}

bool ServerCore::admit(Peer& peer, const Heartbeat& beat, Millis) {
  if (peer.is_shard()) {  // it has neither network nor data
    peer.state = Peer::State::ready;
    event(ServerEvent::Kind::ready, peer, "is ready");
    return true;
  }
  if (beat.model != options_.terms.model) return refuse(peer, Refusal::model_mismatch, "the worker's network has other parameters");
  if (beat.data != options_.terms.data) return refuse(peer, Refusal::data_mismatch, "the worker's data set is not the run's");
  if (options_.one_device_class && options_.device_class.empty()) options_.device_class = peer.hello.device_class;
  if (options_.one_device_class && options_.device_class != peer.hello.device_class)
    return refuse(peer, Refusal::device_mismatch, "the run computes on '" + options_.device_class + "'");
  peer.state = Peer::State::ready;
  event(ServerEvent::Kind::ready, peer, "is ready");
  send(peer, FrameType::rebase, {}, open_.empty() ? version_ : open_.begin()->first);
  if (layouts_ > 0) tell_layout(peer);
  if (options_.gathers) send_parameters(peer);
  return true;
}

// ---- frames out

void ServerCore::send(Peer& peer, FrameType type, std::vector<std::byte> payload, uint64_t step, uint16_t slot, uint8_t flags) {
  auto owned = std::make_shared<std::vector<std::byte>>(std::move(payload));
  FrameHeader header;
  header.type = type;
  header.run_epoch = options_.run_epoch;
  header.step = step;
  header.seq = peer.sent_seq++;
  header.worker = peer.id;
  header.slot = slot;
  header.flags = flags;
  peer.bytes_out += kHeaderBytes + owned->size();
  actions_.push_back({peer.connection, {{encode_header(header, *owned), *owned, owned}}, false});
}

void ServerCore::send_parameters(Peer& peer) {
  if (peer.version == version_ || !parameters_) return;
  peer.version = version_;
  Bytes all = *parameters_;
  if (peer.is_shard()) {
    const auto place = std::ranges::find(shard_connections_, peer.connection) - shard_connections_.begin();
    const ShardRange& range = layout_.shards.at(static_cast<size_t>(place));
    all = all.subspan(range.first * sizeof(float), range.count * sizeof(float));
  }
  ServerAction action{peer.connection, {}, false};
  FrameHeader header;
  header.type = FrameType::params;
  header.run_epoch = options_.run_epoch;
  header.step = version_;
  header.worker = peer.id;
  const size_t size = piece_bytes(all.size());
  for (size_t at = 0; at < all.size() || header.piece == 0; at += size, ++header.piece) {
    const Bytes piece = all.subspan(at, std::min(size, all.size() - at));
    header.seq = peer.sent_seq++;
    header.flags = at + piece.size() == all.size() ? kLastPiece : 0;
    action.frames.push_back({encode_header(header, piece), piece, parameters_});
    peer.bytes_out += kHeaderBytes + piece.size();
    counters_.parameter_bytes += piece.size();
  }
  actions_.push_back(std::move(action));
}

/// Closes with an ERROR frame. Returns false: what else comes from this peer is not read.
bool ServerCore::refuse(Peer& peer, Refusal why, const std::string& text) {
  ++counters_.refused[static_cast<size_t>(why)];
  event(ServerEvent::Kind::refused, peer, std::string(name_of(why)) + ": " + text);
  peer.assembly.reset();
  send(peer, FrameType::error, encode(ErrorMessage{why, text}));
  hang_up(peer);
  return false;
}

/// Returns true: the connection goes on.
bool ServerCore::nack(Peer& peer, uint64_t step, uint16_t slot, Nack::Reason reason) {
  ++counters_.nacked;
  send(peer, FrameType::nack, encode(Nack{reason}), step, slot);
  return true;
}

void ServerCore::say_goodbye(Peer& peer) {
  send(peer, FrameType::bye);
  hang_up(peer);
}

/// The connection closes when what was queued is sent; its slots are free.
void ServerCore::hang_up(Peer& peer) {
  take_away(peer);
  peer.state = Peer::State::closing;
  actions_.push_back({peer.connection, {}, true});
}

/// A worker that leaves may go when it owes nothing, for whatever reason.
bool ServerCore::dismiss(Peer& peer) {
  if (peer.state != Peer::State::leaving || !peer.owned.empty()) return false;
  say_goodbye(peer);
  return true;
}

void ServerCore::event(ServerEvent::Kind kind, const Peer& peer, const std::string& text) {
  const std::string who = peer.id == 0 ? peer.peer : "worker " + std::to_string(peer.id) + " (" + peer.hello.name + ")";
  events_.push_back({kind, peer.id, who + ": " + text});
}

std::vector<ServerAction> ServerCore::take_actions() { return std::exchange(actions_, {}); }
std::vector<TaskResult> ServerCore::take_results() { return std::exchange(results_, {}); }
std::vector<ServerEvent> ServerCore::take_events() { return std::exchange(events_, {}); }

// ---- status

int ServerCore::ready_shards() const { return static_cast<int>(find_shards().size()); }

int ServerCore::ready_workers() const {
  return static_cast<int>(std::ranges::count_if(peers_, [](const auto& entry) { return entry.second->computes(); }));
}

size_t ServerCore::pending_bytes() const {
  size_t bytes = 0;
  for (const auto& [id, peer] : peers_) bytes += peer->decoder.pending() + (peer->assembly && peer->assembly->body ? peer->assembly->body->capacity() : 0);
  return bytes;
}

std::vector<WorkerStatus> ServerCore::workers(Millis now) const { return rows(Role::worker, now); }
std::vector<WorkerStatus> ServerCore::shards(Millis now) const { return rows(Role::shard, now); }

std::vector<WorkerStatus> ServerCore::rows(Role role, Millis now) const {
  std::vector<WorkerStatus> rows;
  for (const auto& [id, peer] : peers_) {
    if (peer->id == 0 || peer->state == Peer::State::closing || peer->hello.role != role) continue;
    WorkerStatus row{.id = peer->id, .name = peer->hello.name, .peer = peer->peer, .device_class = peer->hello.device_class, .state = {}};
    constexpr const char* names[] = {"connected", "preparing", "ready", "lapsed", "leaving", "closing"};
    row.state = peer->outrun ? "lapsed" : peer->computes() && !peer->owned.empty() ? "computing" : names[static_cast<size_t>(peer->state)];
    row.step = peer->owned.empty() ? version_ : peer->owned.begin()->first;
    row.lanes = peer->lanes_owned(open_);
    row.lanes_done = peer->lanes_done;
    row.bytes_in = peer->bytes_in;
    row.bytes_out = peer->bytes_out;
    row.lane_seconds = peer->lane_seconds;
    row.heard = now - peer->heard;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace tern::dist
