// ShardCore with a server and workers that send anything: frames with right checksums, most of them as they should be, mixed
// with time and lost connections. Nothing is thrown, memory is bounded, and a sum is sent only of the layout that the server
// told last, with as many bytes as its slots want.
//   A program of operations: a byte says which, the next ones its arguments.
#include <cstdlib>
#include <cstring>

#include "dist/shard_core.h"
#include "tests/dist_sim/frames.h"
#include "tests/fuzz/input.h"

using namespace tern::dist;

namespace {

constexpr int kClients = 3;
constexpr uint64_t kParameters = 4, kInstance = 7;

void require(bool holds) {
  if (!holds) std::abort();
}

std::vector<std::byte> bytes_of(const Outgoing& frame) {
  std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
  bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
  return bytes;
}

class Run {
 public:
  explicit Run(fuzz::Input input) : in_(input), core_(options(), {}) { core_.server_connected(now_); }

  void run() {
    while (!in_.empty()) {
      operation();
      check();
    }
  }

 private:
  struct Client {
    ConnectionId id = 0;
    uint64_t seq = 0;
  };

  static WorkerOptions options() {
    WorkerOptions options;
    options.hello.name = "fuzz";
    options.hello.instance = kInstance;
    options.hello.role = Role::shard;
    options.hello.address = ":1";
    return options;
  }

  void operation() {
    const uint8_t choice = in_.byte();
    Client& client = clients_[(choice >> 4) % kClients];
    switch (choice % 16) {
      case 0: welcome(); break;
      case 1: layout(); break;
      case 2: assign(); break;
      case 3: parameters(); break;
      case 4: say({.type = static_cast<FrameType>(1 + in_.byte() % kFrameTypes), .flags = in_.byte(), .step = in_.byte()}, noise()); break;
      case 5: say({.type = FrameType::commit, .step = in_.byte() % 8u}, encode(Commit{})); break;
      case 6: in_.byte() % 4 ? core_.server_tick(now_ += 50) : reconnect(); break;
      case 7: core_.server_received(in_.bytes(in_.byte()), now_); break;
      case 8: connect(client); break;
      case 9: core_.disconnected(client.id, "lost", now_); break;
      case 10: greet(client); break;
      case 11:
      case 12: part(client); break;
      case 13: core_.received(client.id, in_.bytes(in_.byte()), now_); break;
      case 14: core_.tick(now_ += in_.byte() * 20); break;
      case 15: tell(client, {.type = static_cast<FrameType>(1 + in_.byte() % kFrameTypes), .step = in_.byte()}, noise()); break;
    }
  }

  std::vector<std::byte> noise() {
    const Bytes bytes = in_.bytes(in_.byte() % 16);
    return {bytes.begin(), bytes.end()};
  }

  // ---- the server
  void say(FrameHeader header, std::vector<std::byte> payload) {
    if (payload.size() > max_payload(header.type)) payload.clear();
    header.run_epoch = 3;
    header.seq = seq_++;
    core_.server_received(bytes_of(sim::outgoing(header, std::move(payload))), now_);
  }
  void reconnect() {
    core_.server_disconnected(now_);
    core_.server_connected(now_);
    seq_ = 0;
  }
  void welcome() {
    const uint8_t choice = in_.byte();
    if (choice & 8) reconnect();
    Welcome terms;
    terms.lanes = 6;
    terms.mode = choice & 1 ? Mode::epoch : Mode::bsp;
    terms.wire = choice & 2 ? Wire::f16 : Wire::f32;
    terms.parameters = choice & 4 ? uint64_t{1} << 60 : kParameters;
    say({.type = FrameType::welcome}, encode(terms));
  }
  void layout() {
    const uint8_t choice = in_.byte();
    Shards shards{3 | uint64_t{choice % 4u} << 40, {}};
    const uint64_t mine = choice & 16 ? 0 : 1;
    if (choice & 32) shards.shards = {{kInstance + mine, "a:1", 0, 1 + choice / 64u % 3}, {kInstance + 1 - mine, "b:1", 1 + choice / 64u % 3, 3 - choice / 64u % 3}};
    else shards.shards = {{kInstance, "a:1", 0, kParameters}};
    say({.type = FrameType::shards}, encode(shards));
  }
  void assign() {
    const uint8_t choice = in_.byte();
    Assign assign{.version = choice % 8u, .slots = {}};
    if (choice & 8) assign.slots = {{0, 0, 2}, {1, 2, 1}};
    else for (uint16_t i = 0; i <= choice / 64; ++i) assign.slots.push_back({i, static_cast<uint16_t>(in_.byte() % 5), static_cast<uint16_t>(1 + in_.byte() % 4)});
    say({.type = FrameType::assign, .flags = static_cast<uint8_t>(choice & 16 ? 0 : kLastPiece), .step = choice % 8u, .slot = static_cast<uint16_t>(choice / 32 % 2)}, encode(assign));
  }
  void parameters() {
    const uint8_t choice = in_.byte();
    say({.type = FrameType::params, .flags = kLastPiece, .step = choice % 8u}, std::vector<std::byte>(choice / 8 % 5 * sizeof(float)));
  }

  // ---- workers
  void tell(Client& client, FrameHeader header, std::vector<std::byte> payload) {
    if (payload.size() > max_payload(header.type)) payload.clear();
    header.seq = client.seq++;
    core_.received(client.id, bytes_of(sim::outgoing(header, std::move(payload))), now_);
  }
  void connect(Client& client) {
    if (client.id != 0) core_.disconnected(client.id, "lost", now_);
    client = {next_++, 0};
    core_.connected(client.id, "192.0.2.1", now_);
  }
  void greet(Client& client) {
    connect(client);
    Hello hello;
    hello.name = "w";
    hello.instance = client.id;
    hello.role = in_.byte() % 8 ? Role::link : Role::worker;
    tell(client, {.type = FrameType::hello}, encode(hello));
    tell(client, {.type = FrameType::heartbeat}, encode(Heartbeat{.state = WorkerState::ready}));
  }
  void part(Client& client) {
    const uint8_t choice = in_.byte();
    const std::vector<std::byte> body(choice / 16 % 9 * 2, static_cast<std::byte>(choice & 128));
    const FrameHeader header{.run_epoch = core_.layout().layout, .step = choice % 8u, .seq = client.seq, .slot = static_cast<uint16_t>(choice / 8 % 2)};
    for (const Outgoing& frame : sim::result_frames(header, body, digest_of(body))) {
      ++client.seq;
      core_.received(client.id, bytes_of(frame), now_);
    }
  }

  void check() {
    size_t body = 0;
    for (const Outgoing& frame : core_.take_frames()) {
      const FrameHeader header = sim::header_of(frame);
      if (header.type != FrameType::grad) continue;
      require(header.run_epoch == core_.layout().layout);
      if (header.piece == 0) std::memcpy(&body, frame.payload.data(), sizeof body);
      if (header.piece == 0) require(body % sizeof(float) == 0 && body <= 4096 * sizeof(Digest) + kParameters * sizeof(float));
    }
    core_.take_close();
    core_.take_notes();
    core_.take_actions();
    core_.take_events();
    if (const ServerCore* workers = core_.workers()) {
      require(workers->connections() <= kClients);
      require(workers->pending_bytes() <= static_cast<size_t>(workers->connections()) * (kHeaderBytes + kMaxPayload + kParameters * sizeof(float)));
    }
  }

  fuzz::Input in_;
  ShardCore core_;
  Client clients_[kClients];
  ConnectionId next_ = 1;
  uint64_t seq_ = 0;
  Millis now_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Run(fuzz::Input(data, size)).run();
  return 0;
}
