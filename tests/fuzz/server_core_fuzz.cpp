// ServerCore with clients that send anything: bytes, frames with right checksums of the input's types and fields, some of
// them made to fit what the server waits for, mixed with time, steps, commits and lost connections. Nothing is thrown,
// memory is bounded, and no result has bytes that no client sent for that slot.
//   A program of operations: a byte says which, the next ones its arguments.
#include <cstdlib>
#include <set>
#include <tuple>

#include "dist/server_core.h"
#include "tests/dist_sim/frames.h"
#include "tests/fuzz/input.h"

using namespace tern::dist;

namespace {

constexpr int kLanes = 5, kClients = 4;
constexpr uint64_t kRunEpoch = 3;

void require(bool holds) {
  if (!holds) std::abort();
}

class Run {
 public:
  explicit Run(fuzz::Input input) : in_(input), options_(options(in_.byte())), core_(options_) {}

  void run() {
    while (!in_.empty()) {
      operation();
      check();
    }
    core_.drain(Drain::Reason::complete, now_);
    for (int i = 0; i < kClients; ++i)
      if (clients_[i].id != 0) core_.disconnected(clients_[i].id, "end", now_);
    require(core_.connections() == 0);
  }

 private:
  struct Client {
    ConnectionId id = 0;
    uint64_t seq = 0;
    std::optional<std::pair<FrameHeader, Assign>> assigned;  // what it was told last
  };

  static ServerOptions options(uint8_t choice) {
    ServerOptions options;
    options.run_epoch = kRunEpoch;
    options.terms.mode = static_cast<Mode>(choice % kModes);
    options.terms.lanes = kLanes;
    options.terms.config = "{}";
    if (options.terms.mode == Mode::bsp && choice & 16) {
      options.terms.wire = Wire::topk;
      options.terms.parameters = 2;
      options.terms.top_k = 1;
    }
    if (options.terms.mode == Mode::bsp && choice & 32 && !(choice & 16)) {
      options.shards = true;
      options.terms.parameters = 3;
    }
    options.one_device_class = choice & 4;
    options.max_workers = choice & 8 ? 2 : 64;
    return options;
  }

  void send(Client& client, FrameHeader header, std::vector<std::byte> payload) {
    header.seq = client.seq++;
    deliver(client, sim::outgoing(header, std::move(payload)));
  }
  void deliver(Client& client, const Outgoing& frame) {
    std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
    core_.received(client.id, bytes, now_);
  }

  void operation() {
    const uint8_t choice = in_.byte();
    Client& client = clients_[(choice >> 4) % kClients];
    if (client.id == 0 && choice % 16 < 9) connect(client);
    switch (choice % 16) {
      case 0: core_.received(client.id, in_.bytes(in_.byte()), now_); break;
      case 1: hello(client); break;
      case 2: beat(client); break;
      case 3: result(client, true); break;
      case 4: result(client, false); break;
      case 5: any_frame(client); break;
      case 6: send(client, {.type = FrameType::drain}, encode(Drain{Drain::Reason::leaving})); break;
      case 7: client.seq += in_.byte() % 2 ? 1 : -1; break;
      case 8: begin_result(client); break;
      case 9: disconnect(client); break;
      case 10: core_.tick(now_ += in_.byte() * 4); break;
      case 11: core_.tick(now_ += in_.byte() * 100); break;
      case 12: begin(); break;
      case 13: core_.publish(++version_, std::make_shared<std::vector<std::byte>>(options_.shards ? 12 : in_.byte() * 10)); break;
      case 14: core_.committed(step_ + in_.byte(), {}, now_); break;
      case 15: in_.byte() < 8 ? core_.drain(Drain::Reason::stopped, now_) : core_.tick(now_ += 50); break;
    }
  }

  void connect(Client& client) {
    client = {next_++, 0, std::nullopt};
    core_.connected(client.id, "192.0.2.1", now_);
  }
  void disconnect(Client& client) {
    if (client.id != 0) core_.disconnected(client.id, "lost", now_);
    client.id = 0;
  }
  void hello(Client& client) {
    Hello hello;
    hello.name = "fuzz";
    hello.device_class = in_.byte() % 4 ? "cpu" : "abacus";
    hello.build = in_.byte() % 4 ? "" : "other";
    hello.instance = in_.byte() % 8;
    if (options_.shards && in_.byte() % 2) {
      hello.role = static_cast<Role>(1 + in_.byte() % 2);
      if (hello.role == Role::shard) hello.address = ":1";
    }
    send(client, {.type = FrameType::hello}, encode(hello));
  }
  void beat(Client& client) {
    Heartbeat beat;
    const uint8_t choice = in_.byte();
    beat.state = static_cast<WorkerState>(choice % 4);
    beat.lanes_done = choice / 4 % 8;
    beat.lane_seconds = choice & 64 ? 0.1f : 0;
    if (choice & 128) beat.model[0] = std::byte{1};
    send(client, {.type = FrameType::heartbeat}, encode(beat));
  }

  /// A result as a worker sends it, for an open step or any other.
  void result(Client& client, bool fits) {
    FrameHeader header = grad(client, fits);
    auto lanes = static_cast<size_t>(fits ? 1 + in_.byte() % kLanes : in_.byte());
    bool sum = options_.shards && header.slot < layout_.shards.size() && in_.byte() % 2;
    if (fits && client.assigned && in_.byte() % 4) {
      const auto& [told, assign] = *client.assigned;
      sum = (told.flags & kLastPiece) != 0;  // of a shard
      const SlotRange& slot = assign.slots[in_.byte() % assign.slots.size()];
      header.step = told.step;
      header.slot = sum ? told.slot : slot.slot;
      lanes = sum ? assign.slots.size() : slot.count;
    }
    std::vector<std::byte> body(lanes * 8, static_cast<std::byte>(header.slot));
    body.resize(body.size() + (layout_.shards.empty() ? gradient_bytes() : layout_.shards.size() * sizeof(Digest)));
    // A shard's sum, of as many slots: digests as workers tell them, and its floats.
    if (sum && header.slot < layout_.shards.size())
      body.assign(lanes * sizeof(Digest) + layout_.shards[header.slot].count * sizeof(float), std::byte{in_.byte() % 8 == 0});
    if (in_.byte() % 8 == 0) body.resize(body.size() / 2);
    Digest digest = digest_of(body);
    if (in_.byte() % 16 == 0) digest[0] ^= std::byte{1};
    sent_.insert({header.step, header.slot, digest});
    const auto frames = sim::result_frames(header, body, digest, 1 + in_.byte() % 4);
    client.seq += frames.size();
    for (const Outgoing& frame : frames) deliver(client, frame);
  }
  size_t gradient_bytes() const { return options_.shards ? 12 : 0; }

  /// A result that does not end, or goes on from where any_frame() left it.
  void begin_result(Client& client) {
    FrameHeader header = grad(client, true);
    ++client.seq;
    const std::vector<std::byte> body(in_.byte() * 8);
    deliver(client, sim::result_frames(header, body, digest_of(body))[0]);
  }
  FrameHeader grad(const Client& client, bool fits) {
    FrameHeader header;
    header.type = FrameType::grad;
    header.seq = client.seq;
    header.run_epoch = fits ? layout_.layout : in_.byte() % 5;
    header.step = fits && step_ > 0 ? step_ - 1 - std::min<uint64_t>(step_ - 1, in_.byte() % 3) : in_.byte();
    header.slot = in_.byte() % (fits ? 6 : 256);
    return header;
  }
  void any_frame(Client& client) {
    FrameHeader header;
    header.type = static_cast<FrameType>(1 + in_.byte() % kFrameTypes);
    header.flags = in_.byte();
    header.run_epoch = kRunEpoch;
    header.step = in_.byte();
    header.slot = in_.byte();
    header.piece = in_.byte();
    const Bytes payload = in_.bytes(std::min<size_t>(in_.byte(), max_payload(header.type)));
    send(client, header, {payload.begin(), payload.end()});
  }
  void begin() {
    if (open_ > 8) return;
    ++open_;
    Task task;
    task.step = step_++;
    task.lanes = 1 + in_.byte() % kLanes;
    const uint8_t choice = in_.byte();
    task.whole_slots = choice % 2;
    task.whole = choice & 2;
    if (choice & 4) task.well_formed = [](Bytes body) { return body[0] < std::byte{200}; };
    task.gradient_bytes = gradient_bytes();
    task.result_bytes = [more = gradient_bytes()](LaneRange range) { return static_cast<uint64_t>(range.count) * 8 + more; };
    core_.begin(std::move(task), now_);
  }

  void check() {
    require(core_.pending_bytes() <= static_cast<size_t>(core_.connections()) * (kHeaderBytes + kMaxPayload + kLanes * 24 + 64));
    require(core_.connections() <= kClients && core_.ready_workers() <= core_.connections());
    for (const TaskResult& result : core_.take_results()) {
      --open_;
      int next = 0;
      for (const SlotResult& slot : result.slots) {
        require(!slot.dropped || core_.counters().dropped > 0);
        require(slot.range.first == next && slot.body->size() == static_cast<size_t>(slot.range.count) * 8 + (result.gradient ? 0 : gradient_bytes()));
        next = slot.range.end();
        require(result.gradient ? result.gradient->size() == 3 : digest_of(*slot.body) == slot.digest);
        bool known = false;
        for (uint16_t i = 0; i < 256; ++i) known = known || sent_.contains({result.task.step, i, slot.digest});
        require(known);
      }
      require(next == result.task.lanes);
    }
    for (const ServerAction& action : core_.take_actions())
      for (const Outgoing& frame : action.frames) {
        const FrameHeader header = sim::header_of(frame);
        require(header.run_epoch == kRunEpoch);
        if (header.type == FrameType::assign)
          for (Client& client : clients_)
            if (client.id == action.connection) client.assigned = {header, decode<Assign>(frame.payload).value()};
        if (header.type == FrameType::shards) layout_ = decode<Shards>(frame.payload).value();
      }
    core_.take_events();
    core_.workers(now_);
  }

  fuzz::Input in_;
  const ServerOptions options_;
  ServerCore core_;
  Shards layout_{kRunEpoch, {}};  // that was told last
  Client clients_[kClients];
  ConnectionId next_ = 1;
  Millis now_ = 1;
  uint64_t step_ = 0, version_ = 0;
  int open_ = 0;
  std::set<std::tuple<uint64_t, uint16_t, Digest>> sent_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Run(fuzz::Input(data, size)).run();
  return 0;
}
