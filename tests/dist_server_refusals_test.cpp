// ServerCore: each refusal with its code and counter.
#include "tests/catch.h"
#include "tests/dist_bench.h"

namespace tern::dist {

using namespace test;

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
  for (const FrameType type : {FrameType::hello, FrameType::welcome, FrameType::assign, FrameType::params, FrameType::grad_ack, FrameType::commit, FrameType::nack, FrameType::rebase, FrameType::shards}) {
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
  CHECK(bench.core.device_class().empty());
  first.get_ready();
  CHECK(bench.core.device_class() == "cpu");
  second.beat(WorkerState::ready);
  CHECK(second.refusal() == Refusal::device_mismatch);
  third.hello.device_class = "abacus";
  third.say_hello();
  CHECK(third.refusal() == Refusal::device_mismatch);
}

TEST_CASE("a worker of another build is taken, and told of where bits matter") {
  for (const bool exact : {true, false}) {
    ServerOptions with = options();
    with.one_device_class = exact;
    Bench bench(with);
    Client same(bench, 1), other(bench, 2);
    other.hello.build = "0.1.0 (changed)";
    for (Client* client : {&same, &other}) client->get_ready();
    std::vector<std::string> told;
    for (const ServerEvent& event : bench.events)
      if (event.kind == ServerEvent::Kind::other_build) told.push_back(event.text);
    CHECK(told == (exact ? std::vector<std::string>{"worker 2 (client): is tern 0.1.0 (changed), the server 0.1.0: their bits may differ"} : std::vector<std::string>{}));
    CHECK(bench.core.ready_workers() == 2);
  }
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
  CHECK(refusal_of(2, [&](Client& c) { c.send(grad, ByteVector(10)); }) == Refusal::malformed);  // no length
  CHECK(refusal_of(3, [&](Client& c) { c.send({.type = FrameType::grad, .run_epoch = 5, .piece = 1}, body(4)); }) == Refusal::malformed);
  CHECK(refusal_of(4, [&](Client& c) {
          bench.receive(c.id, bytes_of(result_frames({.run_epoch = 5, .seq = c.seq}, body(4), digest_of(body(4, 2)))));
        }) == Refusal::bad_checksum);
  const auto begun = [&](Client& c) { bench.receive(c.id, bytes_of({result_frames({.run_epoch = 5, .seq = c.seq++}, body(4), digest_of(body(4)))[0]})); };
  CHECK(refusal_of(5, [&](Client& c) {
          begun(c);
          c.send({.type = FrameType::grad, .run_epoch = 5, .piece = 1}, body(3));
          c.send({.type = FrameType::grad, .flags = kLastPiece, .run_epoch = 5, .piece = 2}, ByteVector(16));
        }) == Refusal::malformed);
  CHECK(refusal_of(6, [&](Client& c) {
          begun(c);
          c.send({.type = FrameType::grad, .run_epoch = 5, .piece = 1}, body(5));
        }) == Refusal::oversized);
  CHECK(refusal_of(7, [&](Client& c) {
          begun(c);
          begun(c);
        }) == Refusal::malformed);
  CHECK(refusal_of(8, [&](Client& c) {
          begun(c);
          c.send({.type = FrameType::grad, .flags = kLastPiece, .run_epoch = 5, .piece = 1}, body(4));  // no digest
        }) == Refusal::malformed);
  CHECK(refusal_of(9, [&](Client& c) { c.send({.type = FrameType::grad, .flags = kLastPiece, .run_epoch = 5}, ByteVector(8)); }) == Refusal::malformed);
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

}  // namespace tern::dist
