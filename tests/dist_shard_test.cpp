// Shards by hand, for what the simulator (dist_sim_test.cpp) does not pin: who is taken, what is told to whom, parts
// that do not belong together, 16-bit parts.
#include <cstring>

#include "core/dtype.h"
#include "dist/shard_core.h"
#include "dist/worker_hub.h"
#include "tests/catch.h"
#include "tests/dist_bench.h"

namespace tern::dist {

using namespace test;

namespace {

constexpr uint64_t kFirstLayout = 5 | uint64_t{1} << 40;

ServerOptions sharded_options() {
  ServerOptions with = options();
  with.terms.parameters = 3;
  with.shards = true;
  return with;
}

/// Lanes with a number each, and a gradient of three floats.
Task sharded_task(uint64_t step) {
  Task made = task(step);
  made.result_bytes = [](LaneRange range) { return static_cast<uint64_t>(range.count) * 4 + 12; };
  made.gradient_bytes = 12;
  return made;
}

Client shard(Bench& bench, ConnectionId id, const std::string& address = ":7071") {
  Client client(bench, id);
  client.hello.role = Role::shard;
  client.hello.address = address;
  return client;
}

/// The last SHARDS that a client heard.
Shards layout_of(Bench& bench, const Client& client) {
  bench.gather();
  Shards layout;
  for (const auto& [header, payload] : bench.heard[client.id].frames)
    if (header.type == FrameType::shards) layout = decode<Shards>(payload).value();
  return layout;
}

ByteVector join(ByteVector a, const ByteVector& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

ByteVector bytes_of_digest(int value) { return ByteVector(16, static_cast<std::byte>(value)); }

ByteVector bytes_of_floats(std::vector<float> values) {
  ByteVector bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A server with a worker and two shards, and a step that is begun.
struct ShardedBench : Bench {
  ShardedBench() : Bench(sharded_options()) {
    worker.get_ready();
    for (Client* client : {&first, &second}) client->get_ready();
    core.publish(0, std::make_shared<ByteVector>(bytes_of_floats({1, 2, 3})));
    core.begin(sharded_task(0), now);
  }
  Client worker{*this, 1}, first = shard(*this, 2), second = shard(*this, 3, "elsewhere:9");
};

}  // namespace

TEST_CASE("a server takes shards where it was told to, and links never; a shard takes links alone") {
  Bench plain, with(sharded_options());
  Client unwanted = shard(plain, 1);
  unwanted.say_hello();
  CHECK(unwanted.refusal() == Refusal::not_wanted);
  Client link(with, 1), wanted = shard(with, 2);
  link.hello.role = Role::link;
  link.say_hello();
  CHECK(link.refusal() == Refusal::not_wanted);
  wanted.get_ready();
  CHECK(with.core.ready_shards() == 1);
  CHECK(with.core.ready_workers() == 0);
  CHECK(with.core.workers(0).empty());
  CHECK(with.core.shards(0).size() == 1);
  ServerOptions gathering = options();
  gathering.gathers = true;
  Bench of_shard(gathering);
  Client worker(of_shard, 1);
  worker.say_hello();
  CHECK(worker.refusal() == Refusal::not_wanted);
}

TEST_CASE("a shard that workers could not reach is refused") {
  Bench bench(sharded_options());
  ConnectionId id = 1;
  for (const std::string& address : std::vector<std::string>{":", ":x", ":0", "host", "::1:7", "a b:7", ":" + std::string(295, '0') + "7071"}) {
    INFO(address);
    Client client = shard(bench, id++);
    client.hello.address = address;
    client.say_hello();
    CHECK(client.refusal() == Refusal::malformed);
  }
  CHECK(bench.core.ready_shards() == 0);
}

TEST_CASE(
    "the arena is dealt to shards, who are told of the step and then get their parameters; the worker gets none") {
  ShardedBench bench;
  const Shards layout = layout_of(bench, bench.worker);
  CHECK(layout.layout == kFirstLayout);
  REQUIRE(layout.shards.size() == 2);
  CHECK(layout.shards[0].address == "192.0.2.1:7071");  // whence it came
  CHECK(layout.shards[1].address == "elsewhere:9");
  CHECK((layout.shards[0].first == 0 && layout.shards[0].count == 2));
  CHECK((layout.shards[1].first == 2 && layout.shards[1].count == 1));
  CHECK(bench.worker.count(FrameType::params) == 0);
  CHECK(bench.worker.count(FrameType::assign) == 1);
  for (const auto& [client, part] :
       {std::pair<Client*, ByteVector>{&bench.first, bytes_of_floats({1, 2})}, {&bench.second, bytes_of_floats({3})}}) {
    const auto& frames = bench.heard[client->id].frames;
    REQUIRE(frames.size() >= 2);
    CHECK(frames[frames.size() - 2].first.type == FrameType::assign);
    CHECK(frames.back().first.type == FrameType::params);
    CHECK(frames.back().second == part);
  }
}

TEST_CASE("a step is whole when the worker's rest and all sums are in; its gradient is put together") {
  ShardedBench bench;
  const auto digests = [](int value) { return bytes_of_digest(value); };
  bench.worker.result(0, 0, join(body(4, 7), join(digests(1), digests(2))), kFirstLayout);
  CHECK(bench.worker.count(FrameType::grad_ack) == 1);
  bench.second.result(0, 1, join(digests(2), bytes_of_floats({6})), kFirstLayout);
  CHECK(bench.core.take_results().empty());
  bench.first.result(0, 0, join(digests(1), bytes_of_floats({4, 5})), kFirstLayout);
  const auto results = bench.core.take_results();
  REQUIRE(results.size() == 1);
  REQUIRE(results[0].gradient);
  CHECK(*results[0].gradient == std::vector<float>{4, 5, 6});
  CHECK(*results[0].slots.at(0).body == body(4, 7));
}

TEST_CASE("parts that a worker did not tell of are an alarm: the step is computed anew without it") {
  ShardedBench bench;
  Client other(bench, 4);
  other.get_ready();
  bench.worker.result(0, 0, join(body(4), join(bytes_of_digest(1), bytes_of_digest(2))), kFirstLayout);
  bench.first.result(0, 0, join(bytes_of_digest(1), bytes_of_floats({4, 5})), kFirstLayout);
  bench.second.result(0, 1, join(bytes_of_digest(9), bytes_of_floats({6})), kFirstLayout);
  CHECK(bench.core.counters().alarms == 1);
  CHECK(bench.worker.refusal() == Refusal::conflict);
  CHECK(bench.core.take_results().empty());
  CHECK(layout_of(bench, other).layout == kFirstLayout + (uint64_t{1} << 40));
  CHECK(other.count(FrameType::assign) == 1);
}

TEST_CASE(
    "without a shard the step begins anew with those that are left, and with none at the server; results from before "
    "are late") {
  ShardedBench bench;
  bench.core.disconnected(3, "lost", bench.now);
  Shards layout = layout_of(bench, bench.worker);
  REQUIRE(layout.shards.size() == 1);
  CHECK(layout.shards[0].count == 3);
  CHECK(bench.worker.count(FrameType::assign) == 2);
  bench.worker.result(0, 0, join(body(4), join(bytes_of_digest(1), bytes_of_digest(2))), kFirstLayout);
  CHECK(bench.worker.count(FrameType::nack) == 1);
  bench.core.disconnected(2, "lost", bench.now);
  layout = layout_of(bench, bench.worker);
  CHECK(layout.shards.empty());
  CHECK(bench.worker.count(FrameType::params) == 1);
  bench.worker.result(0, 0, body(7), layout.layout);
  const auto results = bench.core.take_results();
  REQUIRE(results.size() == 1);
  CHECK_FALSE(results[0].gradient);

  Client again = shard(bench, 9);
  again.get_ready();  // takes part from the next step on
  bench.core.begin(sharded_task(1), bench.now);
  CHECK(layout_of(bench, bench.worker).shards.size() == 1);
}

TEST_CASE("a half result of another layout is not taken when its end comes") {
  ShardedBench bench;
  const auto frames = result_frames({.run_epoch = kFirstLayout, .seq = bench.worker.seq},
                                    join(body(4), join(bytes_of_digest(1), bytes_of_digest(2))), Digest{}, 1);
  bench.receive(1, bytes_of({frames[0], frames[1]}));
  bench.core.disconnected(3, "lost", bench.now);
  bench.receive(1, bytes_of({frames[2]}));
  CHECK(bench.worker.refusal() == Refusal::none);
  CHECK(bench.worker.count(FrameType::grad_ack) == 0);
}

namespace {

/// A ShardCore with a server of the test's own making.
struct ShardBench {
  explicit ShardBench(Wire wire) {
    core.server_connected(now);
    Welcome terms = options().terms;
    terms.parameters = 4;
    terms.wire = wire;
    send({.type = FrameType::welcome}, encode(terms));
    send({.type = FrameType::shards}, encode(Shards{kFirstLayout, {{8, "other:1", 0, 2}, {9, "me:1", 2, 2}}}));
    send({.type = FrameType::assign, .flags = kLastPiece, .step = 3, .slot = 1},
         encode(Assign{.version = 3, .slots = {{0, 0, 2}, {1, 2, 1}}}));
    send({.type = FrameType::params, .flags = kLastPiece, .step = 3}, bytes_of_floats({7, 8}));
    core.take_frames();
  }
  static WorkerOptions client() {
    WorkerOptions options;
    options.hello.name = "s";
    options.hello.instance = 9;
    options.hello.role = Role::shard;
    options.hello.address = "me:1";
    return options;
  }
  void send(FrameHeader header, ByteVector payload) {
    header.seq = seq++;
    header.run_epoch = 5;
    core.server_received(bytes_of({outgoing(header, std::move(payload))}), now);
  }
  /// A worker's part of a result.
  void part(ConnectionId id, uint16_t slot, const ByteVector& bytes) {
    core.connected(id, "192.0.2.7", now);
    uint64_t sent = 0;
    const auto say = [&](FrameHeader header, ByteVector payload) {
      header.seq = sent++;
      core.received(id, bytes_of({outgoing(header, std::move(payload))}), now);
    };
    Hello hello;
    hello.name = "w";
    hello.instance = id;
    hello.role = Role::link;
    say({.type = FrameType::hello}, encode(hello));
    say({.type = FrameType::heartbeat},
        encode(Heartbeat{.state = WorkerState::ready, .model = options().terms.model, .data = options().terms.data}));
    core.received(id,
                  bytes_of(result_frames({.run_epoch = kFirstLayout, .step = 3, .seq = sent, .slot = slot}, bytes,
                                         digest_of(bytes))),
                  now);
  }
  /// The body of the sum that it sent.
  ByteVector sum() {
    ByteVector all;
    for (const Outgoing& frame : core.take_frames()) {
      const FrameHeader header = sim::header_of(frame);
      if (header.type != FrameType::grad || header.piece == 0 || (header.flags & kLastPiece) != 0) continue;
      CHECK((header.run_epoch == kFirstLayout && header.step == 3 && header.slot == 1));
      all.insert(all.end(), frame.payload.begin(), frame.payload.end());
    }
    return all;
  }
  ShardCore core{client(), {}};
  Millis now = 1000;
  uint64_t seq = 0;
};

ByteVector halves(std::vector<float> values) {
  ByteVector bytes;
  for (const float value : values) {
    const Half half(value);
    const auto* at = reinterpret_cast<const std::byte*>(&half);
    bytes.insert(bytes.end(), at, at + sizeof half);
  }
  return bytes;
}

}  // namespace

TEST_CASE("a shard adds parts of 32 and of 16 bits, and says what it has added") {
  for (const Wire wire : {Wire::f32, Wire::f16}) {
    ShardBench bench(wire);
    const auto part = [&](std::vector<float> values) {
      return wire == Wire::f16 ? halves(values) : bytes_of_floats(values);
    };
    const ByteVector a = part({1, 2}), b = part({0.5f, -4});
    bench.part(1, 1, b);
    CHECK(bench.sum().empty());
    bench.part(2, 0, a);
    const Digest first = digest_of(a), second = digest_of(b);
    CHECK(bench.sum() ==
          join(join({first.begin(), first.end()}, {second.begin(), second.end()}), bytes_of_floats({1.5f, -2})));
    CHECK(bench.core.steps() == 1);
  }
}

TEST_CASE("a shard does not take a step whose slots are none") {
  for (const std::vector<SlotRange>& slots :
       {std::vector<SlotRange>{{0, 0, 2}, {1, 3, 1}}, {{0, 0, 1}, {1, 1, 2}}, {{1, 0, 1}}, {{0, 0, 3}}}) {
    ShardBench bench(Wire::f32);
    bench.send({.type = FrameType::assign, .flags = kLastPiece, .step = 4, .slot = 1},
               encode(Assign{.version = 4, .slots = slots}));
    CHECK(bench.core.take_close() == (slots.size() > 1 || slots[0].slot == 1));
  }
}

TEST_CASE("a worker tells the server of a result when all shards have their part") {
  WorkerOptions options;
  options.hello.name = "w";
  WorkerHub hub(options);
  Millis now = 1000;
  std::map<LinkId, uint64_t> seq;
  const auto send = [&](LinkId link, uint64_t run_epoch, FrameHeader header, ByteVector payload) {
    header.seq = seq[link]++;
    header.run_epoch = run_epoch;
    hub.received(link, bytes_of({outgoing(header, std::move(payload))}), now);
  };
  const auto results = [&](LinkId link) {
    int count = 0;
    for (const Outgoing& frame : hub.take_frames(link))
      count += sim::header_of(frame).type == FrameType::grad && sim::header_of(frame).piece == 0 ? 1 : 0;
    return count;
  };
  Welcome terms = test::options().terms;
  terms.parameters = 3;
  hub.connected(kServerLink, now);
  send(kServerLink, 5, {.type = FrameType::welcome}, encode(terms));
  hub.ready({}, {}, now);
  send(kServerLink, 5, {.type = FrameType::shards}, encode(Shards{kFirstLayout, {{8, "a:1", 0, 2}, {9, "b:1", 2, 1}}}));
  send(kServerLink, 5, {.type = FrameType::assign}, encode(Assign{.version = 0, .slots = {{0, 0, 4}}}));
  const std::vector<ShardLink> links = hub.links();
  REQUIRE(links.size() == 2);
  CHECK(links[1].address == "b:1");
  const auto greet = [&](LinkId link, uint64_t count) {
    seq[link] = 0;
    hub.connected(link, now);
    Welcome part = terms;
    part.parameters = count;
    send(link, kFirstLayout, {.type = FrameType::welcome}, encode(part));
  };
  // One that welcomes as another than it should be is not believed, even where all comes at once.
  hub.connected(links[0].id, now);
  Welcome other = terms;
  other.parameters = 1;
  ByteVector at_once;
  for (auto& [header, payload] : {std::pair<FrameHeader, ByteVector>{{.type = FrameType::welcome}, encode(other)},
                                 {{.type = FrameType::params, .flags = kLastPiece, .seq = 1}, bytes_of_floats({1})}}) {
    FrameHeader with = header;
    with.run_epoch = kFirstLayout;
    at_once = join(at_once, bytes_of({outgoing(with, payload)}));
  }
  greet(links[1].id, 1);
  send(links[1].id, kFirstLayout, {.type = FrameType::params, .flags = kLastPiece}, bytes_of_floats({3}));
  hub.received(links[0].id, at_once, now);
  CHECK(hub.take_close(links[0].id));
  CHECK_FALSE(hub.next());
  hub.disconnected(links[0].id, now);
  hub.disconnected(links[1].id, now);
  greet(links[0].id, 2);
  greet(links[1].id, 1);
  send(links[0].id, kFirstLayout, {.type = FrameType::params, .flags = kLastPiece}, bytes_of_floats({1, 2}));
  CHECK_FALSE(hub.next());
  send(links[1].id, kFirstLayout, {.type = FrameType::params, .flags = kLastPiece}, bytes_of_floats({3}));
  const auto work = hub.next();
  REQUIRE(work);
  CHECK(*work->parameters == bytes_of_floats({1, 2, 3}));
  CHECK(work->run_epoch == kFirstLayout);

  hub.disconnected(links[1].id, now);
  hub.finish(*work, std::make_shared<ByteVector>(bytes_of_floats({9, 9, 9, 9, 4, 5, 6})), 0.1, now);
  CHECK(results(links[0].id) == 1);
  send(links[0].id, kFirstLayout, {.type = FrameType::grad_ack}, {});
  CHECK(results(kServerLink) == 0);
  CHECK_FALSE(hub.next());
  greet(links[1].id, 1);
  CHECK(results(links[1].id) == 1);  // what it had not got
  send(links[1].id, kFirstLayout, {.type = FrameType::grad_ack}, {});
  CHECK(results(kServerLink) == 1);

  // A shard that is of another layout by now is tried again.
  seq[links[0].id] = 0;
  hub.disconnected(links[0].id, now);
  hub.connected(links[0].id, now);
  send(links[0].id, kFirstLayout + 1, {.type = FrameType::welcome}, encode(terms));
  CHECK(hub.take_close(links[0].id));
  send(kServerLink, 5, {.type = FrameType::shards}, encode(Shards{kFirstLayout + 1, {}}));
  CHECK(hub.links().empty());

  // A layout is never told of again with other shards.
  CHECK_FALSE(hub.take_close(kServerLink));
  send(kServerLink, 5, {.type = FrameType::shards}, encode(Shards{kFirstLayout, {{8, "a:1", 0, 3}}}));
  CHECK(hub.take_close(kServerLink));
  CHECK(hub.links().empty());
}

}  // namespace tern::dist
