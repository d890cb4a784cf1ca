// ServerCore and WorkerCore by hand, for what the simulator (dist_sim_test.cpp) does not pin: each refusal with its code
// and counter, how workers leave and come back, and the failures of the system that this one replaces.
#include <deque>

#include "dist/server_core.h"
#include "dist/worker_core.h"
#include "tests/catch.h"
#include "tests/dist_frames.h"
#include "tests/dist_sim/frames.h"

namespace tern::dist {
namespace {

using sim::outgoing;
using sim::result_frames;

using ByteVector = std::vector<std::byte>;

ByteVector bytes_of(const std::vector<Outgoing>& frames) {
  ByteVector bytes;
  for (const Outgoing& frame : frames) {
    bytes.insert(bytes.end(), frame.header.begin(), frame.header.end());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
  }
  return bytes;
}

ServerOptions options() {
  ServerOptions options;
  options.run_epoch = 5;
  options.terms.lanes = 4;
  options.terms.parameters = 2;
  options.terms.model.fill(std::byte{1});
  options.terms.data.fill(std::byte{2});
  options.terms.config = "{}";
  options.device_class = "cpu";
  return options;
}

Task task(uint64_t step, int lanes = 4) {
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
    seq += 2;
    bench.receive(id, bytes_of(result_frames(header, body, digest_of(body))));
  }
  int count(FrameType type) { return bench.count(id, type); }
  Refusal refusal() { return bench.refusal(id); }
};

ByteVector body(int lanes, int value = 1) { return ByteVector(static_cast<size_t>(lanes) * 4, static_cast<std::byte>(value)); }

}  // namespace

// ---- refusals

TEST_CASE("before HELLO nothing else is heard") {
  Bench bench;
  for (int type = 2; type <= kFrameTypes; ++type) {
    Client client(bench, static_cast<ConnectionId>(type));
    client.send({.type = static_cast<FrameType>(type)}, {});
    CHECK(client.refusal() == Refusal::illegal_type);
  }
  CHECK(bench.refused(Refusal::illegal_type) == kFrameTypes - 1);
}

TEST_CASE("a worker sends only what is a worker's, and that in its time") {
  Bench bench;
  for (const FrameType type : {FrameType::hello, FrameType::welcome, FrameType::assign, FrameType::params, FrameType::grad_ack, FrameType::commit, FrameType::nack, FrameType::rebase}) {
    Client client(bench, static_cast<ConnectionId>(type));
    client.get_ready();
    client.send({.type = type}, {});
    CHECK(client.refusal() == Refusal::illegal_type);
  }
  Client early(bench, 100);
  early.say_hello();
  early.send({.type = FrameType::grad}, ByteVector(40));
  CHECK(early.refusal() == Refusal::illegal_type);
}

TEST_CASE("a client's version, device, model and data must be the run's") {
  Bench bench;
  Client version(bench, 1), device(bench, 2), model(bench, 3), data(bench, 4);
  version.hello.oldest_major = version.hello.newest_major = kMajor + 1;
  version.say_hello();
  CHECK(version.refusal() == Refusal::bad_version);
  device.hello.device_class = "abacus";
  device.say_hello();
  CHECK(device.refusal() == Refusal::device_mismatch);
  for (Client* client : {&model, &data}) {
    client->say_hello();
    Heartbeat beat{.state = WorkerState::ready};
    if (client == &data) beat.model.fill(std::byte{1});
    client->send({.type = FrameType::heartbeat}, encode(beat));
  }
  CHECK(model.refusal() == Refusal::model_mismatch);
  CHECK(data.refusal() == Refusal::data_mismatch);
  for (const Refusal why : {Refusal::bad_version, Refusal::device_mismatch, Refusal::model_mismatch, Refusal::data_mismatch}) CHECK(bench.refused(why) == 1);
  CHECK(bench.core.ready_workers() == 0);
}

TEST_CASE("the first worker's device class is the run's where none is given") {
  ServerOptions with = options();
  with.device_class = "";
  Bench bench(with);
  Client first(bench, 1), second(bench, 2), third(bench, 3);
  second.hello.device_class = "abacus";
  second.say_hello();  // may still become the first
  first.get_ready();
  second.beat(WorkerState::ready);
  CHECK(second.refusal() == Refusal::device_mismatch);
  third.hello.device_class = "abacus";
  third.say_hello();
  CHECK(third.refusal() == Refusal::device_mismatch);
}

TEST_CASE("payloads that do not parse are refused") {
  Bench bench;
  ConnectionId id = 1;
  Client hello(bench, id++);
  hello.send({.type = FrameType::hello}, ByteVector(5));
  CHECK(hello.refusal() == Refusal::malformed);
  for (const FrameType type : {FrameType::heartbeat, FrameType::drain, FrameType::error}) {
    Client client(bench, id++);
    client.say_hello();
    client.send({.type = type}, ByteVector(1, std::byte{200}));
    CHECK(client.refusal() == Refusal::malformed);
  }
  Client gap(bench, id++);
  gap.say_hello();
  ++gap.seq;
  gap.beat(WorkerState::ready);
  CHECK(gap.refusal() == Refusal::malformed);
  CHECK(bench.refused(Refusal::malformed) == 5);
}

TEST_CASE("results are refused that are not what was asked for") {
  Bench bench;
  bench.core.publish(0, std::make_shared<ByteVector>(8));
  bench.core.begin(task(0), bench.now);
  const auto refusal_of = [&](ConnectionId id, const auto& act) {
    Client client(bench, id);
    client.get_ready();
    REQUIRE(client.count(FrameType::assign) == 1);
    act(client);
    return client.refusal();
  };
  const FrameHeader grad{.type = FrameType::grad, .run_epoch = 5};
  CHECK(refusal_of(1, [](Client& c) { c.result(0, 0, body(5)); }) == Refusal::oversized);
  CHECK(refusal_of(2, [&](Client& c) { c.send(grad, ByteVector(10)); }) == Refusal::malformed);  // no room for the digest
  CHECK(refusal_of(3, [&](Client& c) { c.send({.type = FrameType::grad, .run_epoch = 5, .piece = 1}, body(4)); }) == Refusal::malformed);
  CHECK(refusal_of(4, [&](Client& c) {
          bench.receive(c.id, bytes_of(result_frames({.run_epoch = 5, .seq = c.seq}, body(4), digest_of(body(4, 2)))));
        }) == Refusal::bad_checksum);
  const auto begun = [&](Client& c) { bench.receive(c.id, bytes_of({result_frames({.run_epoch = 5, .seq = c.seq++}, body(4), digest_of(body(4)))[0]})); };
  CHECK(refusal_of(5, [&](Client& c) {
          begun(c);
          c.send({.type = FrameType::grad, .flags = kLastPiece, .run_epoch = 5, .piece = 1}, body(3));
        }) == Refusal::malformed);
  CHECK(refusal_of(6, [&](Client& c) {
          begun(c);
          c.send({.type = FrameType::grad, .run_epoch = 5, .piece = 1}, body(5));
        }) == Refusal::oversized);
  CHECK(refusal_of(7, [&](Client& c) {
          begun(c);
          begun(c);
        }) == Refusal::malformed);
  CHECK(bench.core.pending_bytes() == 0);
  CHECK(bench.core.take_results().empty());
}

TEST_CASE("clients that say nothing, or not enough, are closed") {
  Bench bench;
  Client silent(bench, 1), half(bench, 2), quiet(bench, 3), slow(bench, 4);
  half.bench.receive(2, bytes_of({outgoing({.type = FrameType::hello}, encode(half.hello))}));
  quiet.say_hello();
  slow.say_hello();
  bench.pass(4900);
  CHECK(silent.refusal() == Refusal::none);
  bench.pass(200);
  CHECK(silent.refusal() == Refusal::too_slow);
  // A byte now and then is no progress.
  const ByteVector frame = bytes_of({outgoing({.type = FrameType::heartbeat, .seq = 1}, encode(Heartbeat{}))});
  for (size_t i = 0; i < 6; ++i) {
    bench.receive(4, Bytes(frame).subspan(i, 1));
    bench.pass(1000);
  }
  CHECK(quiet.refusal() == Refusal::too_slow);
  CHECK(slow.refusal() == Refusal::too_slow);
  CHECK(bench.refused(Refusal::too_slow) == 4);
  CHECK(bench.core.counters().lost == 0);
  for (const ConnectionId id : {1, 2, 3, 4}) bench.core.disconnected(id, "closed", bench.now);
  CHECK(bench.core.connections() == 0);
}

TEST_CASE("no more workers than may be") {
  ServerOptions with = options();
  with.max_workers = 2;
  Bench bench(with);
  Client a(bench, 1), b(bench, 2), c(bench, 3);
  CHECK(c.refusal() == Refusal::too_many);
  bench.core.disconnected(3, "closed", bench.now);
  bench.core.disconnected(1, "closed", bench.now);
  Client d(bench, 4);
  d.get_ready();
  CHECK(bench.core.ready_workers() == 1);
}

TEST_CASE("a server that ends sends all home and turns newcomers away") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client connected(bench, 1), preparing(bench, 2), ready(bench, 3);
  preparing.say_hello();
  ready.get_ready();
  bench.core.drain(Drain::Reason::complete, bench.now);
  CHECK(connected.refusal() == Refusal::stopping);
  for (Client* client : {&preparing, &ready}) {
    CHECK(client->count(FrameType::drain) == 1);
    CHECK(client->count(FrameType::bye) == 1);
    CHECK(bench.heard[client->id].closed);
  }
  ready.result(0, 0, body(4));  // too late
  Client late(bench, 4);
  late.say_hello();
  CHECK(late.refusal() == Refusal::stopping);
  bench.pass(20000);
  CHECK(bench.core.take_results().empty());
}

TEST_CASE("terms that cannot be sent are an error at the start, not at the first worker") {
  ServerOptions with = options();
  with.terms.config.assign(300 << 10, 'x');
  CHECK_THROWS_WITH(ServerCore(with), HasText("WELCOME"));
}

// ---- results

TEST_CASE("a second result: the same is acknowledged, another is an alarm") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client client(bench, 1);
  client.get_ready();
  client.result(0, 0, body(4));
  CHECK(client.count(FrameType::grad_ack) == 1);
  REQUIRE(bench.core.take_results().size() == 1);
  client.result(0, 0, body(4));
  CHECK(client.count(FrameType::grad_ack) == 2);
  CHECK(bench.core.counters().duplicates == 1);
  client.result(0, 0, body(4, 2));
  CHECK(client.refusal() == Refusal::conflict);
  CHECK(bench.core.counters().alarms == 1);
  CHECK(bench.core.take_results().empty());
}

TEST_CASE("results that differ are no alarm where each has the parameters of its time") {
  ServerOptions with = options();
  with.terms.mode = Mode::asp;
  Bench bench(with);
  bench.core.begin(task(0), bench.now);
  Client client(bench, 1);
  client.get_ready();
  client.result(0, 0, body(4));
  client.result(0, 0, body(4, 2));
  CHECK(client.refusal() == Refusal::none);
  CHECK(client.count(FrameType::nack) == 1);
  CHECK(bench.core.take_results().size() == 1);
}

TEST_CASE("results are not wanted of another incarnation, of steps that are not open, of lanes that are another's") {
  Bench bench;
  Client first(bench, 1), second(bench, 2);
  first.get_ready();
  second.get_ready();
  bench.core.begin(task(7), bench.now);
  first.result(7, 0, body(2), 4);
  first.result(8, 0, body(2));
  first.result(6, 0, body(2));
  first.result(7, 9, body(2));
  first.result(7, 1, body(2));
  CHECK(first.count(FrameType::nack) == 5);
  CHECK(bench.core.counters().nacked == 5);
  CHECK(first.refusal() == Refusal::none);
  first.result(7, 0, body(2));
  second.result(7, 1, body(2));
  CHECK(bench.core.take_results().size() == 1);
}

// ---- leases

TEST_CASE("a worker without progress loses its lanes, and gets new ones when it is back") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client client(bench, 1);
  client.get_ready();
  client.beat(WorkerState::computing, 1, 0.001f);
  for (int i = 0; i < 6; ++i) {  // its heartbeats go on
    bench.pass(1000);
    client.beat(WorkerState::computing, 1, 0.001f);
  }
  CHECK(bench.core.counters().lapsed == 1);
  CHECK(bench.core.ready_workers() == 0);
  client.result(0, 0, body(4));
  CHECK(client.count(FrameType::nack) == 1);
  client.beat(WorkerState::ready, 5, 0.001f);
  CHECK(client.count(FrameType::assign) == 2);
  client.result(0, 0, body(4));
  CHECK(bench.core.take_results().size() == 1);
}

TEST_CASE("a worker that comes back takes the place of its old connection") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client before(bench, 1);
  before.get_ready();
  Client after(bench, 2);
  after.hello.instance = before.hello.instance;
  after.get_ready();
  CHECK(bench.heard[1].closed);
  CHECK(after.count(FrameType::assign) == 1);
  before.result(0, 0, body(4));  // no longer heard
  CHECK(bench.core.take_results().empty());
  after.result(0, 0, body(4));
  CHECK(bench.core.take_results().size() == 1);
}

// ---- leaving

TEST_CASE("a worker that leaves may go when it owes nothing, whoever did its work") {
  Bench bench;
  bench.core.publish(0, std::make_shared<ByteVector>(8));
  Client leaver(bench, 1), other(bench, 2);
  leaver.get_ready();
  other.get_ready();
  bench.core.begin(task(0), bench.now);
  const auto leave = [&] { leaver.send({.type = FrameType::drain}, encode(Drain{Drain::Reason::leaving})); };

  SECTION("itself") {
    leave();
    CHECK(leaver.count(FrameType::bye) == 0);
    leaver.result(0, 0, body(2));
  }
  SECTION("another") {
    other.beat(WorkerState::ready, 2, 0.01f);
    other.result(0, 1, body(2));
    leave();
    for (int i = 0; i < 3; ++i) {
      bench.pass(500);
      leaver.beat(WorkerState::leaving);
      other.beat(WorkerState::ready, 2, 0.01f);
    }
    REQUIRE(bench.core.counters().speculated == 1);
    CHECK(leaver.count(FrameType::bye) == 0);
    other.result(0, 0, body(2));
    CHECK(bench.core.take_results().size() == 1);
  }
  SECTION("nobody yet: its lease is over") {
    leave();
    for (int i = 0; i < 40; ++i) {
      bench.pass(1000);
      leaver.beat(WorkerState::leaving);
      other.beat(WorkerState::computing);
    }
    CHECK(bench.core.counters().lapsed == 2);
  }
  SECTION("it had nothing") {
    leaver.result(0, 0, body(2));
    leave();
  }
  CHECK(leaver.count(FrameType::bye) == 1);
  CHECK(bench.heard[1].closed);
  CHECK(leaver.refusal() == Refusal::none);
}

TEST_CASE("a worker may leave before it was ready") {
  Bench bench;
  Client client(bench, 1);
  client.say_hello();
  client.send({.type = FrameType::drain}, encode(Drain{Drain::Reason::leaving}));
  CHECK(client.count(FrameType::bye) == 1);
}

TEST_CASE("more parts than one message holds are sent in several") {
  Bench bench;
  for (ConnectionId id = 1; id <= 900; ++id) Client(bench, id).get_ready();
  bench.core.begin(task(0, 65535), bench.now);
  Client last(bench, 1000);
  last.get_ready();
  for (ConnectionId id = 1; id <= 900; ++id) bench.core.disconnected(id, "lost", bench.now);
  CHECK(last.count(FrameType::assign) > 1);
  CHECK(last.refusal() == Refusal::none);
}

// ---- what the original system failed at

TEST_CASE("a close before the header, in it and in the body") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client worker(bench, 1);
  worker.get_ready();
  const ByteVector frame = bytes_of(result_frames({.run_epoch = 5}, body(4), digest_of(body(4))));
  for (const size_t size : {size_t{0}, size_t{1}, size_t{47}, size_t{48}, size_t{60}, frame.size() - 1}) {
    Client cut(bench, 100 + size);
    cut.get_ready();
    ByteVector bytes = bytes_of(result_frames({.run_epoch = 5, .seq = cut.seq}, body(4), digest_of(body(4))));
    bytes.resize(size);
    bench.receive(cut.id, bytes);
    bench.core.disconnected(cut.id, "closed by the peer", bench.now);
    CHECK(bench.core.connections() == 1);
    CHECK(bench.core.pending_bytes() == 0);
  }
  worker.result(0, 0, body(4));
  CHECK(bench.core.take_results().size() == 1);
}

TEST_CASE("a header that comes as 2 + 2 bytes and one by one") {
  Bench bench;
  Client client(bench, 1);
  ByteVector bytes = bytes_of({outgoing({.type = FrameType::hello}, encode(client.hello))});
  bench.receive(1, Bytes(bytes).first(2));
  bench.receive(1, Bytes(bytes).subspan(2, 2));
  for (size_t i = 4; i < bytes.size(); ++i) bench.receive(1, Bytes(bytes).subspan(i, 1));
  CHECK(client.count(FrameType::welcome) == 1);
}

TEST_CASE("pickle bytes are refused with the first of them") {
  Bench bench;
  Client client(bench, 1);
  bench.receive(1, ByteVector{std::byte{0x80}});
  CHECK(client.refusal() == Refusal::bad_magic);
  CHECK(bench.core.pending_bytes() == 0);
  bench.receive(1, ByteVector(100, std::byte{0x80}));  // still in the socket
  CHECK(bench.refused(Refusal::bad_magic) == 1);
}

TEST_CASE("a worker that is silent for minutes does not stop the others") {
  Bench bench;
  Client silent(bench, 1), other(bench, 2);
  silent.get_ready();
  other.get_ready();
  bench.core.begin(task(0), bench.now);
  other.result(0, 1, body(2));
  for (int i = 0; i < 180; ++i) {
    bench.pass(1000);
    other.beat(WorkerState::ready, 2);
    if (i == 1) other.result(0, 0, body(2));  // it was asked to double it
  }
  CHECK(silent.refusal() == Refusal::too_slow);
  CHECK(other.count(FrameType::assign) == 2);
  CHECK(bench.core.take_results().size() == 1);
  bench.receive(1, ByteVector(48));  // it wakes up
  CHECK(bench.core.counters().speculated == 1);
}

// ---- the worker

namespace {

/// A WorkerCore and a server of the test's own making.
struct WorkerBench {
  WorkerBench() : core(worker_options()) {
    core.connected(now);
    core.take_frames();
  }
  static WorkerOptions worker_options() {
    WorkerOptions options;
    options.hello.name = "w";
    return options;
  }
  WorkerCore core;
  Millis now = 1000;
  uint64_t seq = 0, run_epoch = 5;

  void send(FrameHeader header, ByteVector payload) {
    header.seq = seq++;
    header.run_epoch = run_epoch;
    core.received(bytes_of({outgoing(header, std::move(payload))}), now);
  }
  void welcome() {
    Welcome terms = options().terms;
    terms.worker = 3;
    send({.type = FrameType::welcome}, encode(terms));
    core.ready({}, {}, now);
  }
  void assign(uint64_t step, std::vector<SlotRange> slots) {
    send({.type = FrameType::assign, .step = step}, encode(Assign{.version = step, .slots = std::move(slots)}));
  }
  void parameters(uint64_t version) { send({.type = FrameType::params, .flags = kLastPiece, .step = version}, ByteVector(8)); }
  /// Types of the frames that it sent since.
  std::vector<FrameType> sent() {
    std::vector<FrameType> types;
    for (const Outgoing& frame : core.take_frames()) types.push_back(sim::header_of(frame).type);
    return types;
  }
  WorkerState state() {
    core.take_frames();
    now += 1000;
    core.tick(now);
    const auto frames = core.take_frames();
    return frames.empty() ? WorkerState::leaving : decode<Heartbeat>(frames[0].payload)->state;
  }
};

}  // namespace

TEST_CASE("a worker computes what it was given with the parameters that belong to it") {
  WorkerBench bench;
  bench.welcome();
  bench.assign(3, {{0, 0, 2}, {1, 2, 1}});
  CHECK_FALSE(bench.core.next());  // the parameters are on their way
  bench.parameters(3);
  const auto work = bench.core.next();
  REQUIRE(work);
  CHECK(work->range == LaneRange{0, 2});
  CHECK(work->version == 3);
  CHECK_FALSE(bench.core.next());  // one at a time
  CHECK(bench.core.wanted(*work));
  bench.sent();
  bench.core.finish(*work, std::make_shared<ByteVector>(8), 0.1, bench.now);
  CHECK(bench.sent() == std::vector{FrameType::grad, FrameType::grad});
  bench.send({.type = FrameType::commit, .step = 3}, encode(Commit{}));  // another did the rest
  CHECK_FALSE(bench.core.next());
  CHECK(bench.core.committed() == 4);
}

TEST_CASE("what a worker was given before REBASE is void, but what it computes is finished once") {
  WorkerBench bench;
  bench.welcome();
  bench.parameters(3);
  bench.assign(3, {{0, 0, 2}, {1, 2, 1}});
  const auto work = bench.core.next();
  bench.send({.type = FrameType::rebase, .step = 3}, {});
  bench.assign(3, {{0, 0, 2}});  // given back
  bench.sent();
  bench.core.finish(*work, std::make_shared<ByteVector>(8), 0.1, bench.now);
  CHECK(bench.sent() == std::vector{FrameType::grad, FrameType::grad});
  CHECK_FALSE(bench.core.next());
}

TEST_CASE("a worker is ready only when its thread asks for work") {
  WorkerBench bench;
  bench.welcome();
  CHECK_FALSE(bench.core.next());
  CHECK(bench.state() == WorkerState::ready);
  CHECK(bench.state() == WorkerState::computing);  // the thread hangs
  CHECK_FALSE(bench.core.next());
  CHECK(bench.state() == WorkerState::ready);
  bench.parameters(3);
  bench.assign(3, {{0, 0, 2}});
  const auto work = bench.core.next();
  REQUIRE(work);
  bench.core.disconnected(bench.now);  // and it comes back while the thread still computes
  bench.seq = 0;
  bench.core.connected(bench.now);
  bench.welcome();
  CHECK_FALSE(bench.core.wanted(*work));
  CHECK_FALSE(bench.core.next());
  CHECK(bench.state() == WorkerState::computing);
  bench.core.finish(*work, std::make_shared<ByteVector>(8), 0.1, bench.now);
  const auto sent = bench.sent();
  CHECK(std::ranges::count(sent, FrameType::grad) == 0);
  CHECK_FALSE(bench.core.next());
  CHECK(bench.state() == WorkerState::ready);
}

TEST_CASE("a worker that asked for a close hears nothing more, and says why once") {
  WorkerBench bench;
  bench.welcome();
  bench.send({.type = FrameType::hello}, {});
  CHECK(bench.core.take_close());
  CHECK(bench.core.take_notes().size() == 1);
  bench.assign(1, {{0, 0, 1}});
  bench.core.received(ByteVector(100), bench.now);
  bench.core.tick(bench.now + 60000);
  CHECK(bench.core.take_notes().empty());
  CHECK_FALSE(bench.core.take_close());
  CHECK_FALSE(bench.core.next());
  CHECK_FALSE(bench.core.online());
}

TEST_CASE("a silent server is given up once") {
  WorkerBench bench;
  bench.welcome();
  for (int i = 0; i < 100; ++i) bench.core.tick(bench.now += 200);
  CHECK(bench.core.take_notes().size() == 1);
  CHECK(bench.core.take_close());
  bench.parameters(1);
  CHECK_FALSE(bench.core.take_close());
}

TEST_CASE("only what cannot change keeps a worker away") {
  for (int code = 1; code < kRefusals; ++code) {
    const auto why = static_cast<Refusal>(code);
    INFO(name_of(why));
    WorkerBench bench;
    bench.send({.type = FrameType::error}, encode(ErrorMessage{why, "text"}));
    const bool final = why == Refusal::bad_version || why == Refusal::model_mismatch || why == Refusal::data_mismatch || why == Refusal::device_mismatch ||
                       why == Refusal::conflict || why == Refusal::illegal_type;
    CHECK(bench.core.drained().has_value() == (why == Refusal::stopping));
    CHECK(bench.core.refused().has_value() == final);
    CHECK(bench.core.take_close());
  }
}

TEST_CASE("a worker believes no sizes that cannot be") {
  WorkerBench bench;
  Welcome terms = options().terms;
  terms.parameters = uint64_t{1} << 62;  // times 4: 0
  bench.send({.type = FrameType::welcome}, encode(terms));
  CHECK(bench.core.take_close());

  WorkerBench other;
  other.welcome();
  other.send({.type = FrameType::params}, ByteVector(12));
  CHECK(other.core.take_close());
}

}  // namespace tern::dist
