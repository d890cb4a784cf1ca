#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dist/server_core.h"
#include "tests/dist_sim/frames.h"

/// A ServerCore by hand: what each connection hears, and clients that send what they are told.
namespace tern::dist::test {

using sim::outgoing;
using sim::result_frames;

using ByteVector = std::vector<std::byte>;

inline ByteVector bytes_of(const std::vector<Outgoing>& frames) {
  ByteVector bytes;
  for (const Outgoing& frame : frames) {
    bytes.insert(bytes.end(), frame.header.begin(), frame.header.end());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
  }
  return bytes;
}

inline ServerOptions options() {
  ServerOptions options;
  options.run_epoch = 5;
  options.terms.lanes = 4;
  options.terms.parameters = 2;
  options.terms.model.fill(std::byte{1});
  options.terms.data.fill(std::byte{2});
  options.terms.config = "{}";
  options.device_class = "cpu";
  options.build = "0.1.0";
  return options;
}

inline Task task(uint64_t step, int lanes = 4) {
  Task task;
  task.step = step;
  task.lanes = lanes;
  task.result_bytes = [](LaneRange range) { return static_cast<uint64_t>(range.count) * 4; };
  return task;
}

/// A server and what it says to each connection.
struct Bench {
  explicit Bench(ServerOptions with = options()) : core(std::move(with)) {}

  ServerCore core;
  Millis now = 1000;
  struct Heard {
    std::vector<std::pair<FrameHeader, ByteVector>> frames;
    bool closed = false;
    FrameDecoder decoder;
  };
  std::map<ConnectionId, Heard> heard;
  std::vector<ServerEvent> events;

  void gather() {
    for (const ServerAction& action : core.take_actions()) {
      Heard& to = heard[action.connection];
      to.decoder.feed(bytes_of(action.frames), [&](const FrameHeader& header, Bytes payload) {
        to.frames.emplace_back(header, ByteVector(payload.begin(), payload.end()));
        return true;
      });
      to.closed = to.closed || action.close;
    }
    for (const ServerEvent& event : core.take_events()) events.push_back(event);
  }
  void pass(Millis time) {
    for (const Millis until = now + time; now < until;) {
      now += 50;
      core.tick(now);
    }
    gather();
  }
  void receive(ConnectionId id, Bytes bytes) {
    core.received(id, bytes, now);
    gather();
  }
  int count(ConnectionId id, FrameType type) {
    gather();
    return static_cast<int>(std::ranges::count_if(heard[id].frames, [&](const auto& frame) { return frame.first.type == type; }));
  }
  /// The code of the ERROR that ended the connection.
  Refusal refusal(ConnectionId id) {
    gather();
    if (!heard[id].closed || heard[id].frames.empty() || heard[id].frames.back().first.type != FrameType::error) return Refusal::none;
    const auto message = decode<ErrorMessage>(heard[id].frames.back().second);
    return message ? message->code : Refusal::none;
  }
  uint64_t refused(Refusal why) const { return core.counters().refused[static_cast<size_t>(why)]; }
};

/// A client that sends what it is told.
struct Client {
  Client(Bench& bench, ConnectionId id) : bench(bench), id(id) {
    bench.core.connected(id, "192.0.2.1", bench.now);
    hello.name = "client";
    hello.device_class = "cpu";
    hello.build = "0.1.0";
    hello.instance = id;
    bench.gather();
  }
  Bench& bench;
  const ConnectionId id;
  Hello hello;
  uint64_t seq = 0;

  void send(FrameHeader header, ByteVector payload) {
    header.seq = seq++;
    bench.receive(id, bytes_of({outgoing(header, std::move(payload))}));
  }
  void say_hello() { send({.type = FrameType::hello}, encode(hello)); }
  void beat(WorkerState state, uint64_t lanes_done = 0, float lane_seconds = 0) {
    Heartbeat beat{.state = state, .lanes_done = lanes_done, .lane_seconds = lane_seconds};
    beat.model.fill(std::byte{1});
    beat.data.fill(std::byte{2});
    send({.type = FrameType::heartbeat}, encode(beat));
  }
  Client& get_ready() {
    say_hello();
    beat(WorkerState::ready);
    return *this;
  }
  void result(uint64_t step, uint16_t slot, const ByteVector& body, uint64_t run_epoch = 5) {
    FrameHeader header{.run_epoch = run_epoch, .step = step, .seq = seq, .slot = slot};
    seq += sim::kResultFrames;
    bench.receive(id, bytes_of(result_frames(header, body, digest_of(body))));
  }
  int count(FrameType type) { return bench.count(id, type); }
  Refusal refusal() { return bench.refusal(id); }
};

inline ByteVector body(int lanes, int value = 1) { return ByteVector(static_cast<size_t>(lanes) * 4, static_cast<std::byte>(value)); }

}  // namespace tern::dist::test
