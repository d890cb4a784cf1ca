// ServerCore by hand, for what the simulator (dist_sim_test.cpp) does not pin: results, leases, how workers leave and come
// back, and the failures of the system that this one replaces.
#include "tests/catch.h"
#include "tests/dist_bench.h"

namespace tern::dist {

using namespace test;

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

TEST_CASE("a result's parts come from its end; a second one is compared when its digest comes") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client client(bench, 1);
  client.get_ready();
  ByteVector whole(16);
  for (size_t i = 0; i < whole.size(); ++i) whole[i] = static_cast<std::byte>(i);
  const auto send = [&](const ByteVector& body) {
    const auto frames = result_frames({.run_epoch = 5, .seq = client.seq}, body, digest_of(body), 5);
    client.seq += frames.size();
    for (const Outgoing& frame : frames) {
      CHECK(client.count(FrameType::grad_ack) == static_cast<int>(bench.core.counters().results + bench.core.counters().duplicates));
      bench.receive(client.id, bytes_of({frame}));
    }
  };
  send(whole);
  const auto results = bench.core.take_results();
  REQUIRE(results.size() == 1);
  CHECK(*results[0].slots[0].body == whole);
  send(whole);
  CHECK(client.count(FrameType::grad_ack) == 2);
  send(body(4));
  CHECK(client.refusal() == Refusal::conflict);
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

// ---- what lanes hold back (Wire::topk)

namespace {

ServerOptions sparse_options() {
  ServerOptions with = options();
  with.terms.wire = Wire::topk;
  with.terms.top_k = 1;
  return with;
}

/// The lanes of the last ASSIGN that a client heard, and whether each is carried.
std::vector<std::pair<int, bool>> last_assigned(Bench& bench, const Client& client) {
  bench.gather();
  std::vector<std::pair<int, bool>> lanes;
  for (const auto& [header, payload] : bench.heard[client.id].frames) {
    if (header.type != FrameType::assign) continue;
    lanes.clear();
    const auto assign = decode<Assign>(payload);
    for (const SlotRange& slot : assign->slots) lanes.emplace_back(slot.first, slot.carried);
  }
  return lanes;
}

using Lanes = std::vector<std::pair<int, bool>>;

}  // namespace

TEST_CASE("lanes stay with whoever has what they hold back, and are dealt anew after a whole step") {
  Bench bench(sparse_options());
  Client first(bench, 1), second(bench, 2);
  first.get_ready();
  second.get_ready();
  bench.core.begin(task(0), bench.now);
  CHECK(last_assigned(bench, first) == Lanes{{0, false}, {2, false}});
  CHECK(last_assigned(bench, second) == Lanes{{1, false}, {3, false}});
  const auto step = [&](uint64_t number) {
    for (const auto& [lane, carried] : last_assigned(bench, first)) first.result(number, static_cast<uint16_t>(lane), body(1));
    for (const auto& [lane, carried] : last_assigned(bench, second)) second.result(number, static_cast<uint16_t>(lane), body(1));
    REQUIRE(bench.core.take_results().size() == 1);
  };
  step(0);
  Client third(bench, 3);
  third.get_ready();
  Task whole = task(1);
  whole.whole = true;
  bench.core.begin(whole, bench.now);
  CHECK(last_assigned(bench, first) == Lanes{{0, true}, {2, true}});
  CHECK(last_assigned(bench, second) == Lanes{{1, true}, {3, true}});
  CHECK(third.count(FrameType::assign) == 0);
  bench.core.disconnected(1, "lost", bench.now);
  CHECK(last_assigned(bench, third) == Lanes{{0, false}, {2, false}});
  CHECK(bench.core.counters().dropped == 0);
  third.result(1, 0, body(1));
  CHECK(bench.core.counters().dropped == 1);
  third.result(1, 2, body(1));
  for (const uint16_t lane : {1, 3}) second.result(1, lane, body(1));
  const auto results = bench.core.take_results();
  REQUIRE(results.size() == 1);
  for (const SlotResult& slot : results[0].slots) CHECK(slot.dropped == (slot.range.first % 2 == 0));
  bench.core.begin(task(2), bench.now);
  for (const Client* client : {&second, &third})
    for (const auto& [lane, carried] : last_assigned(bench, *client)) CHECK_FALSE(carried);
  CHECK(bench.core.counters().dropped == 2);
}

TEST_CASE("a second result is no alarm where only one of the two had what the lane held back") {
  Bench bench(sparse_options());
  Client holder(bench, 1), other(bench, 2), third(bench, 3);
  holder.get_ready();
  bench.core.begin(task(0, 1), bench.now);
  holder.result(0, 0, body(1));
  bench.core.begin(task(1, 1), bench.now);
  other.get_ready();
  third.get_ready();
  bench.pass(31000);  // the holder's lease, and silence, are over
  CHECK(holder.refusal() == Refusal::too_slow);
  Client again(bench, 4);
  again.hello.instance = holder.hello.instance;
  Client taker(bench, 5);
  taker.get_ready();
  CHECK(last_assigned(bench, taker) == Lanes{{0, false}});
  taker.result(1, 0, body(1, 7));
  CHECK(bench.core.counters().dropped == 1);
  again.get_ready();
  again.result(1, 0, body(1, 1));  // what it had computed before
  CHECK(again.count(FrameType::nack) == 1);
  CHECK(bench.core.counters().alarms == 0);
  taker.result(1, 0, body(1, 2));
  CHECK(taker.refusal() == Refusal::conflict);
}

TEST_CASE("a result that cannot be read is refused, and its lane given to another") {
  Bench bench;
  Task readable = task(0);
  readable.well_formed = [](Bytes bytes) { return bytes[0] == std::byte{1}; };
  bench.core.begin(readable, bench.now);
  Client client(bench, 1);
  client.get_ready();
  client.result(0, 0, body(4, 2));
  CHECK(client.refusal() == Refusal::malformed);
  Client other(bench, 2);
  other.get_ready();
  other.result(0, 0, body(4));
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

TEST_CASE("what comes of a result is progress, and a lease has time for what is sent") {
  Bench bench;
  bench.core.begin(task(0), bench.now);
  Client client(bench, 1);
  client.get_ready();
  const bool told = GENERATE(true, false);  // its own time of a lane, before its first result
  if (told) client.beat(WorkerState::computing, 1, 0.001f);
  const ByteVector whole = body(4);
  const auto frames = result_frames({.run_epoch = 5, .seq = client.seq}, whole, digest_of(whole), 4);
  client.seq += frames.size();
  REQUIRE(frames.size() == 6);
  for (const Outgoing& frame : frames) {  // a lease is 3 s
    bench.pass(2000);
    bench.receive(client.id, bytes_of({frame}));
  }
  CHECK(bench.core.counters().lapsed == 0);
  CHECK(bench.core.take_results().size() == 1);
  // Five times the 12 s that it took.
  client.beat(WorkerState::computing, 1, 0.001f);
  bench.core.begin(task(1), bench.now);
  for (int i = 0; i < 6; ++i) {
    bench.pass(9000);
    CHECK(bench.core.counters().lapsed == 0);
    client.beat(WorkerState::computing, 1, 0.001f);  // not silent
  }
  bench.pass(9000);
  CHECK(bench.core.counters().lapsed == 1);
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

}  // namespace tern::dist
