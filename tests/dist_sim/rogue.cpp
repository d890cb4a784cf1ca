#include "tests/dist_sim/rogue.h"

#include <algorithm>

#include "tests/dist_sim/frames.h"
#include "tests/dist_sim/simulated_server.h"
#include "tests/dist_sim/simulated_shard.h"
#include "tests/dist_sim/world.h"

namespace tern::dist::sim {

Rogue::Rogue(World& world, int host) : world_(world), kind_(static_cast<Kind>(world.draw().between(0, kKinds - 1))) {
  world.trace("a rogue of kind " + std::to_string(static_cast<int>(kind_)));
  SimShard* shard = world.draw().chance(0.3) ? world.find_shard("shard:" + std::to_string(world.draw().between(0, 3))) : nullptr;
  shard_ = shard != nullptr;
  world.network().connect(*this, shard ? shard->workers_side() : world.server(), host);
}

std::vector<std::byte> Rogue::noise(size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(world_.draw().bits());
  return bytes;
}

void Rogue::send(FrameHeader header, std::vector<std::byte> payload) {
  if (connection_ == 0) return;
  header.seq = seq_++;
  header.worker = worker_;
  world_.network().send(connection_, kClient, std::vector{outgoing(header, std::move(payload))});
}

void Rogue::say_hello() {
  Hello hello;
  hello.name = "rogue";
  hello.device_class = kind_ == Kind::device ? "abacus" : "cpu";
  hello.instance = world_.draw().bits();
  if (shard_ && world_.draw().chance(0.9)) hello.role = Role::link;
  if (kind_ == Kind::version) hello.oldest_major = hello.newest_major = kMajor + 1;
  send({.type = FrameType::hello}, encode(hello));
}

void Rogue::connected(ConnectionId id) {
  connection_ = id;
  Network& network = world_.network();
  switch (kind_) {
    case Kind::silent: return;
    case Kind::pickle: {
      std::vector<std::byte> pickle{std::byte{0x80}, std::byte{4}, std::byte{0x95}};
      const auto rest = noise(60);
      pickle.insert(pickle.end(), rest.begin(), rest.end());
      return network.send(id, kClient, pickle);
    }
    case Kind::noise: return network.send(id, kClient, noise(static_cast<size_t>(world_.draw().between(1, 300))));
    case Kind::cut_header:
    case Kind::cut_body: {
      const Outgoing frame = outgoing({.type = FrameType::grad}, noise(100));
      std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
      bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
      bytes.resize(static_cast<size_t>(kind_ == Kind::cut_header ? world_.draw().between(1, 47) : world_.draw().between(48, 147)));
      network.send(id, kClient, bytes);
      if (world_.draw().chance(0.5)) network.close(id, kClient);
      return;
    }
    default: return say_hello();
  }
}

void Rogue::disconnected(ConnectionId, const std::string&) { connection_ = 0; }

void Rogue::received(ConnectionId, Bytes bytes) {
  decoder_.feed(bytes, [&](const FrameHeader& header, Bytes payload) {
    if (header.type == FrameType::welcome) {
      const auto welcome = decode<Welcome>(payload);
      if (!welcome) return false;
      worker_ = welcome->worker;
      run_epoch_ = header.run_epoch;
      after_welcome();
    }
    if (header.type == FrameType::assign)
      if (const auto assign = decode<Assign>(payload)) on_assign(header, *assign);
    return connection_ != 0;
  });
}

void Rogue::ready() {
  const Welcome terms = world_.server().terms();
  Heartbeat beat{.state = WorkerState::ready, .model = terms.model, .data = terms.data};
  if (kind_ == Kind::other_model) (world_.draw().chance(0.5) ? beat.model : beat.data).fill(std::byte{9});
  send({.type = FrameType::heartbeat}, encode(beat));
}

void Rogue::after_welcome() {
  if (kind_ == Kind::fuzz) return fuzz();
  if (kind_ == Kind::impatient) return send({.type = FrameType::grad, .run_epoch = run_epoch_}, noise(40));
  ready();
  if (kind_ == Kind::forger || kind_ == Kind::old_results) linger();
}

/// Goes on living without computing.
void Rogue::linger() {
  world_.clock().after(world_.plan().heartbeat, [this, id = connection_] {
    if (connection_ != id || id == 0) return;
    send({.type = FrameType::heartbeat, .run_epoch = run_epoch_}, encode(Heartbeat{.state = WorkerState::computing}));
    if (kind_ == Kind::forger) forge();
    if (connection_ == id) linger();
  });
}

void Rogue::on_assign(const FrameHeader& header, const Assign& assign) {
  assigned_ = {header.step, world_.draw().pick(assign.slots)};
  const SlotRange slot = assigned_->second;
  std::vector<std::byte> body = noise(world_.plan().toy.body_bytes(static_cast<int64_t>(header.step), {slot.first, slot.count}));
  FrameHeader result{.run_epoch = run_epoch_, .step = header.step, .slot = slot.slot};
  Digest digest = dist::digest_of(body);
  switch (kind_) {
    case Kind::old_results: result.run_epoch -= 1; break;
    case Kind::wrong_size: body.resize(body.size() + (world_.draw().chance(0.5) ? 4 : body.size())); break;
    case Kind::wrong_digest: digest[3] ^= std::byte{1}; break;
    default: return;
  }
  // The slot may have been done by another in the meantime.
  if (kind_ == Kind::wrong_size || kind_ == Kind::wrong_digest) world_.expect_alarm();
  result.seq = seq_;
  result.worker = worker_;
  seq_ += kResultFrames;
  world_.network().send(connection_, kClient, result_frames(result, body, digest));
}

void Rogue::fuzz() {
  const int64_t frames = world_.draw().between(1, 5);
  for (int64_t i = 0; i < frames; ++i) {
    const auto type = static_cast<FrameType>(world_.draw().between(1, kFrameTypes));
    const auto size = std::min<size_t>(max_payload(type), static_cast<size_t>(world_.draw().between(0, 60)));
    send({.type = type, .run_epoch = run_epoch_, .step = static_cast<uint64_t>(world_.draw().between(0, 5))}, noise(size));
  }
}

/// Only when the server has taken from it what it had: before that, nobody could tell a result from another.
void Rogue::forge() {
  if (!assigned_ || world_.server().run_epoch() != run_epoch_ || !world_.server().lapsed(worker_)) return;
  const SlotRange slot = assigned_->second;
  const std::vector<std::byte> body = noise(world_.plan().toy.body_bytes(static_cast<int64_t>(assigned_->first), {slot.first, slot.count}));
  world_.trace("a rogue forges a result for step " + std::to_string(assigned_->first));
  world_.expect_alarm();
  const FrameHeader header{.run_epoch = run_epoch_, .step = assigned_->first, .seq = seq_, .worker = worker_, .slot = slot.slot};
  seq_ += kResultFrames;
  world_.network().send(connection_, kClient, result_frames(header, body, dist::digest_of(body)));
}

}  // namespace tern::dist::sim
