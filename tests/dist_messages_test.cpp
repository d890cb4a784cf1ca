// Messages: each comes back as it was, and bytes that are not exactly one are refused.
#include <cmath>
#include <limits>

#include "core/error.h"
#include "dist/messages.h"
#include "tests/catch.h"
#include "tests/dist_frames.h"

using namespace tern::dist;
using namespace tern::dist::test;

namespace {

Digest some_digest(int first) {
  Digest digest;
  for (size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return digest;
}

Hello some_hello() { return {1, 3, "wörker 1", "cpu avx512", "0.1.0", 0x0102030405060708, 16, Role::shard, ":70"}; }

Welcome some_welcome() {
  Welcome m;
  m.worker = 7;
  m.heartbeat_ms = 250;
  m.lanes = 8;
  m.micro_batch = 32;
  m.wire = Wire::topk;
  m.top_k = 3063;
  m.mode = Mode::bsp;
  m.parameters = 306202;
  m.statistics = 448;
  m.model = some_digest(1);
  m.data = some_digest(100);
  m.config = R"({"seed": 1})";
  return m;
}

Heartbeat some_heartbeat() { return {WorkerState::ready, 4000, 0.125f, some_digest(2), some_digest(60)}; }

Assign some_assign() {
  Assign m;
  m.version = uint64_t{1} << 40;
  m.epoch = 3;
  m.step_in_epoch = 77;
  m.steps = 2;
  m.loss_scale = 1024;
  m.whole = true;
  m.slots = {{0, 0, 4}, {9, 65534, 1, true}, {65535, 6, 2}};
  return m;
}

Shards some_shards() { return {uint64_t{3} << 40, {{5, "a:1", 0, 7}, {6, "[::1]:2", 7, uint64_t{1} << 40}}}; }

/// A message of each type in its bytes, told by encode() itself.
template <class Message>
void check_refuses_other_sizes(const Message& message, FrameType type) {
  const std::vector<std::byte> payload = encode(message);
  CAPTURE(name_of(type), payload.size());
  REQUIRE(payload.size() <= max_payload(type));
  REQUIRE(decode<Message>(payload));
  CHECK(encode(*decode<Message>(payload)) == payload);
  for (size_t size = 0; size < payload.size(); ++size) CHECK_FALSE(decode<Message>(Bytes(payload).first(size)));
  for (int extra : {0, 1, 255}) {
    std::vector<std::byte> longer = payload;
    longer.push_back(static_cast<std::byte>(extra));
    CHECK_FALSE(decode<Message>(longer));
  }
  // Any changed byte is another message or none.
  for (size_t i = 0; i < payload.size(); ++i)
    for (int flip : {0x01, 0x80, 0xff}) {
      std::vector<std::byte> changed = payload;
      changed[i] ^= static_cast<std::byte>(flip);
      if (const auto other = decode<Message>(changed)) REQUIRE(encode(*other) == changed);
    }
}

template <class Message>
void check_not_encoded(const Message& message, const std::string& name) {
  CHECK_THROWS_WITH(encode(message), HasText(name));
}

/// The message's bytes with some of them replaced.
std::vector<std::byte> with_bytes(std::vector<std::byte> payload, size_t at, std::string_view bytes) {
  const std::vector<std::byte> source = bytes_of(bytes);
  REQUIRE(at + source.size() <= payload.size());
  std::copy(source.begin(), source.end(), payload.begin() + static_cast<ptrdiff_t>(at));
  return payload;
}

}  // namespace

TEST_CASE("messages come back as they were", "[dist]") {
  const Hello hello = decode<Hello>(encode(some_hello())).value();
  CHECK(hello.oldest_major == 1);
  CHECK(hello.newest_major == 3);
  CHECK(hello.name == "wörker 1");
  CHECK(hello.device_class == "cpu avx512");
  CHECK(hello.build == "0.1.0");
  CHECK(hello.instance == 0x0102030405060708);
  CHECK(hello.threads == 16);
  CHECK(hello.role == Role::shard);
  CHECK(hello.address == ":70");

  const Welcome welcome = decode<Welcome>(encode(some_welcome())).value();
  CHECK(welcome.worker == 7);
  CHECK(welcome.heartbeat_ms == 250);
  CHECK(welcome.lanes == 8);
  CHECK(welcome.micro_batch == 32);
  CHECK(welcome.wire == Wire::topk);
  CHECK(welcome.top_k == 3063);
  CHECK(welcome.mode == Mode::bsp);
  CHECK(welcome.parameters == 306202);
  CHECK(welcome.statistics == 448);
  CHECK(welcome.model == some_digest(1));
  CHECK(welcome.data == some_digest(100));
  CHECK(welcome.config == R"({"seed": 1})");

  const Heartbeat heartbeat = decode<Heartbeat>(encode(some_heartbeat())).value();
  CHECK(heartbeat.state == WorkerState::ready);
  CHECK(heartbeat.lanes_done == 4000);
  CHECK(heartbeat.lane_seconds == 0.125f);
  CHECK(heartbeat.model == some_digest(2));
  CHECK(heartbeat.data == some_digest(60));

  const Assign assign = decode<Assign>(encode(some_assign())).value();
  CHECK(assign.version == uint64_t{1} << 40);
  CHECK(assign.epoch == 3);
  CHECK(assign.step_in_epoch == 77);
  CHECK(assign.steps == 2);
  CHECK(assign.loss_scale == 1024);
  CHECK(assign.whole);
  REQUIRE(assign.slots.size() == 3);
  CHECK_FALSE(assign.slots[0].carried);
  CHECK(assign.slots[1].carried);
  CHECK(assign.slots[1].slot == 9);
  CHECK(assign.slots[1].first == 65534);
  CHECK(assign.slots[1].count == 1);
  CHECK(assign.slots[2].slot == 65535);

  const Shards shards = decode<Shards>(encode(some_shards())).value();
  CHECK(shards.layout == uint64_t{3} << 40);
  REQUIRE(shards.shards.size() == 2);
  CHECK(shards.shards[1].instance == 6);
  CHECK(shards.shards[1].address == "[::1]:2");
  CHECK(shards.shards[1].first == 7);
  CHECK(shards.shards[1].count == uint64_t{1} << 40);

  CHECK(decode<Nack>(encode(Nack{Nack::Reason::stale_run}))->reason == Nack::Reason::stale_run);
  CHECK(decode<Commit>(encode(Commit{some_digest(9)}))->parameters == some_digest(9));
  CHECK(decode<Drain>(encode(Drain{Drain::Reason::leaving}))->reason == Drain::Reason::leaving);
  const ErrorMessage error = decode<ErrorMessage>(encode(ErrorMessage{Refusal::stopping, "bye\nnow"})).value();
  CHECK(error.code == Refusal::stopping);
  CHECK(error.text == "bye\nnow");
}

TEST_CASE("the bytes of messages are these", "[dist]") {
  const auto same = [](const std::vector<std::byte>& payload, std::string_view expected) {
    CHECK(payload == bytes_of(expected));
  };
  using namespace std::string_view_literals;
  same(encode(some_hello()),
       "\x01\x03\x09\0\0\0w\xc3\xb6rker 1\x0a\0\0\0cpu avx512\x05\0\0\0" "0.1.0\x08\x07\x06\x05\x04\x03\x02\x01\x10\0\0\0\x02\x03\0\0\0:70"sv);
  same(encode(some_assign()),
       "\0\0\0\0\0\x01\0\0\x03\0\0\0\x4d\0\0\0\x02\0\0\0\0\0\x80\x44\x01\x03\0"
       "\0\0\0\0\x04\0\0\x09\0\xfe\xff\x01\0\x01\xff\xff\x06\0\x02\0\0"sv);
  same(encode(Nack{Nack::Reason::not_assigned}), "\x02"sv);
  same(encode(ErrorMessage{Refusal::malformed, "no"}), "\x07\0\x02\0\0\0no"sv);
}

TEST_CASE("shorter, longer and changed payloads are refused or another message", "[dist]") {
  check_refuses_other_sizes(some_hello(), FrameType::hello);
  check_refuses_other_sizes(some_welcome(), FrameType::welcome);
  check_refuses_other_sizes(some_heartbeat(), FrameType::heartbeat);
  check_refuses_other_sizes(some_assign(), FrameType::assign);
  check_refuses_other_sizes(some_shards(), FrameType::shards);
  check_refuses_other_sizes(Nack{}, FrameType::nack);
  check_refuses_other_sizes(Commit{some_digest(1)}, FrameType::commit);
  check_refuses_other_sizes(Drain{}, FrameType::drain);
  check_refuses_other_sizes(ErrorMessage{Refusal::conflict, "wrong"}, FrameType::error);
}

TEST_CASE("the largest messages fill what their frames can carry", "[dist]") {
  Hello hello = some_hello();
  hello.name.assign(64, 'n');
  hello.device_class.assign(128, 'd');
  hello.build.assign(128, 'b');
  hello.address.assign(300, 'a');
  CHECK(encode(hello).size() == max_payload(FrameType::hello));
  Welcome welcome = some_welcome();
  welcome.config.assign(size_t{256} << 10, ' ');
  CHECK(encode(welcome).size() == max_payload(FrameType::welcome));
  Assign assign = some_assign();
  assign.slots.clear();
  for (uint16_t i = 0; i < 4096; ++i) assign.slots.push_back({i, i, 1, false});
  CHECK(encode(assign).size() == max_payload(FrameType::assign));
  Shards shards;
  for (uint64_t i = 0; i < 256; ++i) shards.shards.push_back({i, std::string(300, 'a'), i, 1});
  CHECK(encode(shards).size() == max_payload(FrameType::shards));
  CHECK(encode(some_heartbeat()).size() == max_payload(FrameType::heartbeat));
  CHECK(encode(Nack{}).size() == max_payload(FrameType::nack));
  CHECK(encode(Commit{}).size() == max_payload(FrameType::commit));
  CHECK(encode(Drain{}).size() == max_payload(FrameType::drain));
  CHECK(encode(ErrorMessage{Refusal::none, std::string(512, 'e')}).size() == max_payload(FrameType::error));

  hello.name += 'n';
  check_not_encoded(hello, "HELLO");
  hello = some_hello();
  hello.device_class.assign(129, 'd');
  check_not_encoded(hello, "HELLO");
  hello = some_hello();
  hello.build.assign(129, 'b');
  check_not_encoded(hello, "HELLO");
  shards.shards.push_back({1, "a", 256, 1});
  check_not_encoded(shards, "SHARDS");
  for (const auto& shard : {ShardRange{1, "a", 1, 7}, ShardRange{1, "a", 0, 0}, ShardRange{1, "", 0, 7}, ShardRange{1, std::string(301, 'a'), 0, 7}}) check_not_encoded(Shards{1, {shard}}, "SHARDS");
  hello = some_hello();
  hello.address.clear();  // a shard's is not
  check_not_encoded(hello, "HELLO");
  welcome.config += ' ';
  check_not_encoded(welcome, "WELCOME");
  assign.slots.push_back({4096, 0, 1});
  check_not_encoded(assign, "ASSIGN");
  for (uint32_t i = 4097; i < 65536 + 3; ++i) assign.slots.push_back({static_cast<uint16_t>(i), 0, 1});
  check_not_encoded(assign, "ASSIGN");  // its count does not fit its field
}

TEST_CASE("HELLO: names and versions out of bounds are refused", "[dist]") {
  for (const std::string name : {"", "a\nb", "a\x1b[2J", "\x7f", "\xff", "\xc3"}) {
    CAPTURE(name);
    Hello hello = some_hello();
    hello.name = name;
    check_not_encoded(hello, "HELLO");
  }
  const std::vector<std::byte> payload = encode(some_hello());
  CHECK(decode<Hello>(with_bytes(payload, 0, "\x03")));
  CHECK_FALSE(decode<Hello>(with_bytes(payload, 0, "\x04")));  // oldest after newest
  CHECK_FALSE(decode<Hello>(with_bytes(payload, 7, "x")));     // half a letter is left
  CHECK_FALSE(decode<Hello>(with_bytes(payload, 6, "\n")));
  CHECK_FALSE(decode<Hello>(with_bytes(payload, 19, "\t")));  // device class
  CHECK_FALSE(decode<Hello>(with_bytes(payload, 33, "\t")));  // build
  CHECK_FALSE(decode<Hello>(with_bytes(payload, 2, "\xff\xff\xff\xff")));
  Hello empty_class = some_hello();
  empty_class.device_class.clear();
  CHECK(decode<Hello>(encode(empty_class)));
  Hello no_threads = some_hello();
  no_threads.threads = 0;
  check_not_encoded(no_threads, "HELLO");
}

TEST_CASE("WELCOME: numbers and text out of range are refused", "[dist]") {
  const std::vector<std::byte> payload = encode(some_welcome());
  CHECK_FALSE(decode<Welcome>(with_bytes(payload, 16, "\x01")));  // top_k without topk
  CHECK_FALSE(decode<Welcome>(with_bytes(payload, 16, "\x03")));  // wire
  CHECK_FALSE(decode<Welcome>(with_bytes(payload, 17, "\x01")));  // topk where lanes do not follow step after step
  CHECK_FALSE(decode<Welcome>(with_bytes(payload, 17, "\x04")));  // mode
  CHECK_FALSE(decode<Welcome>(with_bytes(payload, 4, std::string(4, '\0'))));
  CHECK_FALSE(decode<Welcome>(with_bytes(payload, payload.size() - 1, "\xc3")));
  Welcome dense = some_welcome();
  dense.top_k = 0;
  check_not_encoded(dense, "WELCOME");
  dense.wire = Wire::f16;
  dense.mode = Mode::epoch;
  CHECK(decode<Welcome>(encode(dense)));
  Welcome sparse = some_welcome();
  sparse.top_k = sparse.parameters + 1;
  check_not_encoded(sparse, "WELCOME");
}

TEST_CASE("HEARTBEAT and ASSIGN: only sensible numbers", "[dist]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kInfinity, -kInfinity, std::nanf(""), -1.0f, -0.0f}) {
    CAPTURE(bad);
    Heartbeat heartbeat = some_heartbeat();
    heartbeat.lane_seconds = bad;
    check_not_encoded(heartbeat, "HEARTBEAT");
    Assign assign = some_assign();
    assign.loss_scale = bad;
    check_not_encoded(assign, "ASSIGN");
  }
  CHECK_FALSE(decode<Heartbeat>(with_bytes(encode(some_heartbeat()), 0, "\x04")));
  Heartbeat slow = some_heartbeat();
  slow.lane_seconds = 86400;
  CHECK(decode<Heartbeat>(encode(slow)));
  slow.lane_seconds = 86401;
  check_not_encoded(slow, "HEARTBEAT");

  Assign assign = some_assign();
  assign.loss_scale = 0;
  check_not_encoded(assign, "ASSIGN");
  assign = some_assign();
  assign.steps = 0;
  check_not_encoded(assign, "ASSIGN");
  const std::vector<SlotRange> first{{0, 0, 1}};
  for (const std::vector<SlotRange>& slots :
       {std::vector<SlotRange>{}, {{0, 0, 0}}, {{0, 65535, 1}}, {{0, 1, 65535}}, {{5, 0, 1}, {6, 1, 1}, {5, 2, 1}}}) {
    assign = some_assign();
    assign.slots = slots;
    check_not_encoded(assign, "ASSIGN");
  }
  CHECK_FALSE(decode<Assign>(with_bytes(encode(some_assign()), 24, "\x02")));  // whole
  CHECK_FALSE(decode<Assign>(with_bytes(encode(some_assign()), 33, "\x02")));  // carried
  assign.slots = {{0, 0, 65535}, {1, 65534, 1}};
  CHECK(decode<Assign>(encode(assign)));
}

TEST_CASE("NACK, DRAIN and ERROR: unknown codes are refused", "[dist]") {
  CHECK_FALSE(decode<Nack>(bytes_of("\x03")));
  CHECK_FALSE(decode<Drain>(bytes_of("\x03")));
  const std::vector<std::byte> error = encode(ErrorMessage{Refusal::stopping, "x"});
  CHECK(decode<ErrorMessage>(error));
  CHECK_FALSE(decode<ErrorMessage>(with_bytes(error, 0, "\x10")));
  CHECK_FALSE(decode<ErrorMessage>(with_bytes(error, 1, "\x01")));
  CHECK_FALSE(decode<ErrorMessage>(with_bytes(error, 6, "\xff")));
}

TEST_CASE("an error's text is cut where it cannot be sent", "[dist]") {
  const auto sent = [](const std::string& text) { return decode<ErrorMessage>(encode(ErrorMessage{{}, text}))->text; };
  for (const size_t size : {510, 511, 512, 513}) {
    CAPTURE(size);
    std::string text(size, 'a');
    text.append("\xc3\xb6");  // one letter of two bytes
    CHECK(sent(text) == text.substr(0, size == 510 ? 512 : std::min<size_t>(size, 512)));
  }
  CHECK(sent("ab\xff"
             "cd") == "ab");
}

TEST_CASE("modes have names", "[dist]") {
  CHECK(name_of(Mode::bsp) == "bsp");
  CHECK(name_of(Mode::epoch) == "epoch");
}

TEST_CASE("digests are XXH3-128 as xxhsum prints it", "[dist]") {
  CHECK(hex(digest_of({})) == "99aa06d3014798d86001c324468d497f");
  CHECK(hex(digest_of(bytes_of("tern"))) == "9cc206e933214c57a8b3253a4a1f3f06");
  CHECK(hex(some_digest(0xf0)) == "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
  CHECK(digest_of(bytes_of("a")) != digest_of(bytes_of("b")));
}
