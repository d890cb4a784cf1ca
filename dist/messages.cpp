#include "dist/messages.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <bitset>
#include <cmath>

#include "core/error.h"
#include "core/utf8.h"
#include "dist/byte_io.h"

namespace tern::dist {
namespace {

constexpr size_t kMaxErrorText = 512;

class Writer {
 public:
  template <class... Numbers>
  void numbers(const Numbers&... values) {
    (bytes_.number(values), ...);
  }
  void digest(const Digest& digest) { bytes_.bytes(digest); }
  void text(const std::string& text, size_t) {
    bytes_.number(static_cast<uint32_t>(text.size()));
    bytes_.bytes(std::as_bytes(std::span(text)));
  }
  void slots(const std::vector<SlotRange>& slots) {
    bytes_.number(static_cast<uint16_t>(slots.size()));
    for (const SlotRange& range : slots) {
      numbers(range.slot, range.first, range.count);
      flag(range.carried);
    }
  }
  void shards(const std::vector<ShardRange>& shards) {
    bytes_.number(static_cast<uint16_t>(shards.size()));
    for (const ShardRange& shard : shards) {
      numbers(shard.instance);
      text(shard.address, kLongestAddress);
      numbers(shard.first, shard.count);
    }
  }
  void flag(bool value) { bytes_.number(static_cast<uint8_t>(value)); }
  std::vector<std::byte> take() { return bytes_.take(); }

 private:
  ByteWriter bytes_;
};

class Reader {
 public:
  explicit Reader(Bytes payload) : bytes_(payload) {}

  template <class... Numbers>
  void numbers(Numbers&... values) {
    (bytes_.number(values), ...);
  }
  void digest(Digest& digest) {
    if (const Bytes source = bytes_.bytes(digest.size()); !source.empty())
      std::copy(source.begin(), source.end(), digest.begin());
  }
  void text(std::string& text, size_t longest) {
    uint32_t size = 0;
    bytes_.number(size);
    if (size > longest) bytes_.fail();
    const Bytes source = bytes_.bytes(size);
    text.assign(reinterpret_cast<const char*>(source.data()), source.size());
  }
  void slots(std::vector<SlotRange>& slots) {
    uint16_t count = 0;
    bytes_.number(count);
    if (count > kMostSlots) bytes_.fail();
    slots.resize(bytes_.good() ? count : 0);
    for (SlotRange& range : slots) {
      numbers(range.slot, range.first, range.count);
      flag(range.carried);
    }
  }
  void shards(std::vector<ShardRange>& shards) {
    uint16_t count = 0;
    bytes_.number(count);
    if (count > kMostShards) bytes_.fail();
    shards.resize(bytes_.good() ? count : 0);
    for (ShardRange& shard : shards) {
      numbers(shard.instance);
      text(shard.address, kLongestAddress);
      numbers(shard.first, shard.count);
    }
  }
  void flag(bool& value) {
    uint8_t number = 0;
    bytes_.number(number);
    if (number > 1) bytes_.fail();
    value = number == 1;
  }
  bool finished() const { return bytes_.finished(); }

 private:
  ByteReader bytes_;
};

bool is_utf8(std::string_view text) { return !find_bad_utf8(text); }

template <class E>
bool at_most(E value, E last) {
  return static_cast<unsigned>(value) <= static_cast<unsigned>(last);
}

/// What a message consists of. fields(io, message) serves both directions: io is a Writer or a Reader. Fields follow
/// each other without gaps; a text or a list has its length before it.
template <class Message>
struct Layout;

template <>
struct Layout<Hello> {
  static constexpr FrameType kType = FrameType::hello;
  static void fields(auto& io, auto& m) {
    io.numbers(m.oldest_major, m.newest_major);
    io.text(m.name, 64);
    io.text(m.device_class, 128);
    io.text(m.build, 128);
    io.numbers(m.instance, m.threads, m.role);
    io.text(m.address, kLongestAddress);
  }
  static bool valid(const Hello& m) {
    return m.oldest_major <= m.newest_major && !m.name.empty() && is_line(m.name) && is_line(m.device_class) && is_line(m.build) &&
           m.threads >= 1 && at_most(m.role, Role::shard) && is_line(m.address) && m.address.empty() == (m.role != Role::shard);
  }
};

template <>
struct Layout<Welcome> {
  static constexpr FrameType kType = FrameType::welcome;
  static void fields(auto& io, auto& m) {
    io.numbers(m.worker, m.heartbeat_ms, m.lanes, m.micro_batch, m.wire, m.mode, m.parameters, m.top_k, m.statistics);
    io.digest(m.model);
    io.digest(m.data);
    io.text(m.config, size_t{256} << 10);
  }
  static bool valid(const Welcome& m) {
    return m.heartbeat_ms >= 1 && at_most(m.wire, Wire::topk) && static_cast<int>(m.mode) < kModes &&
           (m.wire == Wire::topk ? m.top_k > 0 && m.top_k <= m.parameters && m.parameters <= uint64_t{1} << 32 && m.mode == Mode::bsp : m.top_k == 0) && is_utf8(m.config);
  }
};

template <>
struct Layout<Heartbeat> {
  static constexpr FrameType kType = FrameType::heartbeat;
  static void fields(auto& io, auto& m) {
    io.numbers(m.state, m.lanes_done, m.lane_seconds);
    io.digest(m.model);
    io.digest(m.data);
  }
  static bool valid(const Heartbeat& m) {
    return at_most(m.state, WorkerState::leaving) && m.lane_seconds <= kLongestLane && !std::signbit(m.lane_seconds);
  }
};

template <>
struct Layout<Assign> {
  static constexpr FrameType kType = FrameType::assign;
  static void fields(auto& io, auto& m) {
    io.numbers(m.version, m.epoch, m.step_in_epoch, m.steps, m.loss_scale);
    io.flag(m.whole);
    io.slots(m.slots);
  }
  static bool valid(const Assign& m) {
    std::bitset<65536> seen;
    for (const SlotRange& range : m.slots) {
      if (range.count < 1 || range.first + range.count > 65535 || seen[range.slot]) return false;
      seen.set(range.slot);
    }
    return m.steps >= 1 && std::isfinite(m.loss_scale) && m.loss_scale > 0 && !m.slots.empty();
  }
};

template <>
struct Layout<Shards> {
  static constexpr FrameType kType = FrameType::shards;
  static void fields(auto& io, auto& m) {
    io.numbers(m.layout);
    io.shards(m.shards);
  }
  static bool valid(const Shards& m) {
    uint64_t end = 0;
    for (const ShardRange& shard : m.shards) {
      if (shard.address.empty() || !is_line(shard.address) || shard.first != end || shard.count == 0 || end + shard.count < end) return false;
      end += shard.count;
    }
    return true;
  }
};

template <>
struct Layout<Nack> {
  static constexpr FrameType kType = FrameType::nack;
  static void fields(auto& io, auto& m) { io.numbers(m.reason); }
  static bool valid(const Nack& m) { return at_most(m.reason, Nack::Reason::not_assigned); }
};

template <>
struct Layout<Commit> {
  static constexpr FrameType kType = FrameType::commit;
  static void fields(auto& io, auto& m) { io.digest(m.parameters); }
  static bool valid(const Commit&) { return true; }
};

template <>
struct Layout<Drain> {
  static constexpr FrameType kType = FrameType::drain;
  static void fields(auto& io, auto& m) { io.numbers(m.reason); }
  static bool valid(const Drain& m) { return at_most(m.reason, Drain::Reason::leaving); }
};

template <>
struct Layout<ErrorMessage> {
  static constexpr FrameType kType = FrameType::error;
  static void fields(auto& io, auto& m) {
    io.numbers(m.code);
    io.text(m.text, kMaxErrorText);
  }
  static bool valid(const ErrorMessage& m) { return static_cast<int>(m.code) < kRefusals && is_utf8(m.text); }
};

template <class Message>
std::vector<std::byte> encode_any(const Message& message) {
  Writer writer;
  Layout<Message>::fields(writer, message);
  std::vector<std::byte> payload = writer.take();
  if (!decode<Message>(payload)) throw Error("a message " + name_of(Layout<Message>::kType) + " is out of its bounds");
  return payload;
}

}  // namespace

template <class T>
std::optional<T> decode(Bytes payload) {
  Reader reader(payload);
  T message;
  Layout<T>::fields(reader, message);
  if (!reader.finished() || !Layout<T>::valid(message)) return std::nullopt;
  return message;
}

template std::optional<Hello> decode(Bytes);
template std::optional<Welcome> decode(Bytes);
template std::optional<Heartbeat> decode(Bytes);
template std::optional<Assign> decode(Bytes);
template std::optional<Shards> decode(Bytes);
template std::optional<Nack> decode(Bytes);
template std::optional<Commit> decode(Bytes);
template std::optional<Drain> decode(Bytes);
template std::optional<ErrorMessage> decode(Bytes);

std::vector<std::byte> encode(const Hello& message) { return encode_any(message); }
std::vector<std::byte> encode(const Welcome& message) { return encode_any(message); }
std::vector<std::byte> encode(const Heartbeat& message) { return encode_any(message); }
std::vector<std::byte> encode(const Assign& message) { return encode_any(message); }
std::vector<std::byte> encode(const Shards& message) { return encode_any(message); }
std::vector<std::byte> encode(const Nack& message) { return encode_any(message); }
std::vector<std::byte> encode(const Commit& message) { return encode_any(message); }
std::vector<std::byte> encode(const Drain& message) { return encode_any(message); }

std::vector<std::byte> encode(const ErrorMessage& message) {
  // Why a connection closes must always be sendable, and texts come from anywhere.
  std::string text = message.text.substr(0, kMaxErrorText);
  text.resize(find_bad_utf8(text).value_or(text.size()));
  return encode_any(ErrorMessage{message.code, text});
}

bool is_line(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return is_utf8(text) && std::none_of(text.begin(), text.end(), is_control);
}

Digest digest_of(Bytes bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  return std::bit_cast<Digest>(canonical);
}

std::string hex(const Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::byte b : digest) {
    text += kDigits[std::to_integer<size_t>(b >> 4)];
    text += kDigits[std::to_integer<size_t>(b & std::byte{15})];
  }
  return text;
}

}  // namespace tern::dist
