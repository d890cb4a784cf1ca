// WorkerCore by hand: what it computes, sends, believes and says of itself.
#include "dist/worker_core.h"
#include "tests/catch.h"
#include "tests/dist_bench.h"

namespace tern::dist {

using namespace test;

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
  CHECK(bench.sent() == std::vector{FrameType::grad, FrameType::grad, FrameType::grad});
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
  CHECK(bench.sent() == std::vector{FrameType::grad, FrameType::grad, FrameType::grad});
  CHECK_FALSE(bench.core.next());
  bench.send({.type = FrameType::rebase, .step = 9}, {});
  bench.assign(3, {{1, 2, 1}});  // the last word counts
  const auto again = bench.core.next();
  REQUIRE(again);
  CHECK(bench.core.wanted(*again));
}

TEST_CASE("a result that was turned down is computed anew when its lanes are given back") {
  WorkerBench bench;
  bench.welcome();
  bench.parameters(3);
  bench.assign(3, {{0, 0, 2}});
  const auto work = bench.core.next();
  const auto body = std::make_shared<ByteVector>(8);
  bench.core.send_part(*work, body, 4);
  bench.send({.type = FrameType::nack, .step = 3}, encode(Nack{Nack::Reason::not_assigned}));
  CHECK_FALSE(bench.core.wanted(*work));
  bench.assign(3, {{0, 0, 2}});
  bench.sent();
  bench.core.finish(*work, body, 0.1, bench.now);
  CHECK(bench.sent() == std::vector{FrameType::grad, FrameType::grad});  // to the end: the rest, and the digest
  CHECK(bench.core.next());
}

TEST_CASE("a machine that slept in a lane does not look slow for long") {
  WorkerBench bench;
  bench.welcome();
  bench.parameters(3);
  bench.assign(3, {{0, 0, 1}, {1, 1, 1}});
  for (const double seconds : {1.0, 600.0}) bench.core.finish(*bench.core.next(), std::make_shared<ByteVector>(8), seconds, bench.now);
  bench.core.take_frames();
  bench.now += 1000;
  bench.core.tick(bench.now);
  CHECK(decode<Heartbeat>(bench.core.take_frames().at(0).payload)->lane_seconds == 1.75f);
}

TEST_CASE("a HELLO that cannot be sent is an error at the start, not at the first connection") {
  WorkerOptions options = WorkerBench::worker_options();
  options.hello.name.assign(65, 'n');
  CHECK_THROWS_WITH(WorkerCore(options), HasText("HELLO"));
}

TEST_CASE("a result is sent in parts while it is computed, from its end, and to the end once it was begun") {
  WorkerBench bench;
  bench.welcome();
  bench.parameters(3);
  bench.assign(3, {{0, 0, 2}, {1, 2, 1}});
  const auto work = bench.core.next();
  REQUIRE(work);
  bench.sent();
  const auto body = std::make_shared<ByteVector>(10);
  for (size_t i = 0; i < body->size(); ++i) (*body)[i] = static_cast<std::byte>(i);
  const auto payloads = [&] {
    std::vector<ByteVector> all;
    for (const Outgoing& frame : bench.core.take_frames())
      if (sim::header_of(frame).type == FrameType::grad) all.emplace_back(frame.payload.begin(), frame.payload.end());
    return all;
  };
  const auto bytes = [&](size_t from, size_t to) { return ByteVector(body->begin() + static_cast<ptrdiff_t>(from), body->begin() + static_cast<ptrdiff_t>(to)); };
  bench.core.send_part(*work, body, 7);
  const auto first = payloads();
  REQUIRE(first.size() == 2);
  CHECK(first[0] == ByteVector{std::byte{10}, {}, {}, {}, {}, {}, {}, {}});
  CHECK(first[1] == bytes(7, 10));
  bench.core.send_part(*work, body, 7);
  CHECK(payloads().empty());
  bench.send({.type = FrameType::commit, .step = 3}, encode(Commit{}));  // another was first
  CHECK_FALSE(bench.core.wanted(*work));
  bench.core.send_part(*work, body, 2);
  CHECK(payloads() == std::vector<ByteVector>{bytes(2, 7)});
  bench.core.finish(*work, body, 0.1, bench.now);
  const Digest digest = digest_of(*body);
  CHECK(payloads() == std::vector<ByteVector>{bytes(0, 2), ByteVector(digest.begin(), digest.end())});

  bench.assign(4, {{0, 0, 2}});
  bench.parameters(4);
  const auto other = bench.core.next();
  REQUIRE(other);
  bench.core.send_part(*other, body, 5);
  CHECK(payloads().size() == 2);
  bench.core.disconnected(bench.now);  // the next connection knows nothing of it
  bench.seq = 0;
  bench.core.connected(bench.now);
  bench.welcome();
  bench.core.send_part(*other, body, 1);
  bench.core.finish(*other, body, 0.1, bench.now);
  CHECK(payloads().empty());
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
                       why == Refusal::conflict || why == Refusal::illegal_type || why == Refusal::not_wanted;
    CHECK(bench.core.drained().has_value() == (why == Refusal::stopping));
    CHECK(bench.core.refused().has_value() == final);
    CHECK(bench.core.take_close());
  }
}

TEST_CASE("a server of another major version is none to come back to") {
  for (const bool known : {false, true}) {  // whom it spoke with before: a byte was damaged
    WorkerBench bench;
    if (known) bench.welcome();
    ByteVector frame = bytes_of({outgoing({.type = FrameType::error}, encode(ErrorMessage{Refusal::bad_version, "the server speaks another"}))});
    frame[4] = std::byte{kMajor + 1};
    bench.core.received(frame, bench.now);
    CHECK(bench.core.take_close());
    REQUIRE(bench.core.refused().has_value() == !known);
    if (!known) CHECK(bench.core.refused()->code == Refusal::bad_version);
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
