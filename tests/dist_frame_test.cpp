// The frame codec: what is put into a stream comes out of it however it is cut, and nothing else does.
#include <algorithm>
#include <stdexcept>

#include "core/crc32c.h"
#include "core/error.h"
#include "dist/frame.h"
#include "tests/catch.h"
#include "tests/dist_frames.h"

using namespace tern::dist;
using namespace tern::dist::test;

namespace {

struct Frame {
  FrameHeader header;
  std::vector<std::byte> payload;
};

std::vector<std::byte> encode(const Frame& frame) { return whole_frame(frame.header, frame.payload); }

Frame grad(size_t size, uint32_t seed) {
  FrameHeader header;
  header.type = FrameType::grad;
  header.flags = kLastPiece;
  header.run_epoch = 0x0102030405060708 + seed;
  header.step = 0x1112131415161718;
  header.seq = 0x2122232425262728;
  header.worker = 0x31323334;
  header.slot = 0x4142;
  header.piece = 0x5152;
  header.length = static_cast<uint32_t>(size);
  return {header, random_payload(size, seed)};
}

void check_equal(const Frame& got, const Frame& wanted) {
  CHECK(got.header.type == wanted.header.type);
  CHECK(got.header.major == wanted.header.major);
  CHECK(got.header.minor == wanted.header.minor);
  CHECK(got.header.flags == wanted.header.flags);
  CHECK(got.header.run_epoch == wanted.header.run_epoch);
  CHECK(got.header.step == wanted.header.step);
  CHECK(got.header.seq == wanted.header.seq);
  CHECK(got.header.worker == wanted.header.worker);
  CHECK(got.header.slot == wanted.header.slot);
  CHECK(got.header.piece == wanted.header.piece);
  CHECK(got.header.length == wanted.payload.size());
  CHECK(got.payload == wanted.payload);
}

/// Feeds pieces and keeps what comes out.
struct Receiver {
  FrameDecoder decoder;
  std::vector<Frame> frames;

  Refusal feed(Bytes bytes) {
    return decoder.feed(bytes, [this](const FrameHeader& header, Bytes payload) {
      frames.push_back({header, {payload.begin(), payload.end()}});
      return true;
    });
  }
};

Refusal refusal_of(Bytes bytes) { return Receiver().feed(bytes); }

/// Sets a byte and makes the checksum right again.
std::vector<std::byte> with_byte(std::vector<std::byte> frame, size_t at, int value) {
  frame[at] = static_cast<std::byte>(value);
  const Bytes bytes(frame);
  const uint32_t crc = tern::crc32c(bytes.subspan(kHeaderBytes), tern::crc32c(bytes.first(44)));
  for (size_t i = 0; i < 4; ++i) frame[44 + i] = static_cast<std::byte>(crc >> (8 * i));
  return frame;
}

}  // namespace

TEST_CASE("the bytes of a frame are these", "[dist]") {
  FrameHeader header = grad(0, 0).header;
  header.minor = 3;
  const std::vector<std::byte> frame = whole_frame(header, bytes_of("tern"));
  constexpr std::array<int, 52> kExpected{0x54, 0x45, 0x52, 0x4e,                          // "TERN"
                                          0x04, 0x03, 0x05, 0x01,                          // major, minor, type, flags
                                          0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,  // run_epoch
                                          0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,  // step
                                          0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,  // seq
                                          0x34, 0x33, 0x32, 0x31,                          // worker
                                          0x42, 0x41, 0x52, 0x51,                          // slot, piece
                                          0x04, 0x00, 0x00, 0x00,                          // length
                                          0x21, 0x8a, 0xfd, 0x98,                          // checksum
                                          't',  'e',  'r',  'n'};
  REQUIRE(frame.size() == kExpected.size());
  for (size_t i = 0; i < frame.size(); ++i) {
    CAPTURE(i);
    CHECK(std::to_integer<int>(frame[i]) == kExpected[i]);
  }
}

TEST_CASE("frames of all types come back as they were", "[dist]") {
  Receiver receiver;
  std::vector<Frame> sent;
  for (int type = 1; type <= kFrameTypes; ++type) {
    Frame frame = grad(0, static_cast<uint32_t>(type));
    frame.header.type = static_cast<FrameType>(type);
    frame.payload = random_payload(max_payload(frame.header.type), 3);
    sent.push_back(frame);
  }
  for (const Frame& frame : sent) REQUIRE(receiver.feed(encode(frame)) == Refusal::none);
  REQUIRE(receiver.frames.size() == sent.size());
  for (size_t i = 0; i < sent.size(); ++i) check_equal(receiver.frames[i], sent[i]);
  CHECK(receiver.decoder.pending() == 0);
}

TEST_CASE("a stream gives the same frames wherever it is cut", "[dist]") {
  const std::vector<Frame> sent{grad(0, 1), grad(5, 2), grad(70, 3), grad(0, 4), grad(1, 5)};
  std::vector<std::byte> stream;
  for (const Frame& frame : sent) {
    const std::vector<std::byte> bytes = encode(frame);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
  }
  const auto check = [&](std::vector<size_t> cuts) {
    cuts.push_back(stream.size());
    CAPTURE(cuts);
    Receiver receiver;
    size_t done = 0;
    for (size_t cut : cuts) {
      REQUIRE(receiver.feed(Bytes(stream).subspan(done, cut - done)) == Refusal::none);
      done = cut;
    }
    REQUIRE(receiver.frames.size() == sent.size());
    for (size_t i = 0; i < sent.size(); ++i) {
      REQUIRE(receiver.frames[i].payload == sent[i].payload);
      REQUIRE(receiver.frames[i].header.run_epoch == sent[i].header.run_epoch);
    }
    REQUIRE(receiver.decoder.pending() == 0);
  };
  for (size_t i = 0; i <= stream.size(); ++i) check({i});
  for (size_t i = 0; i < stream.size(); i += 3)
    for (size_t j = i; j < stream.size(); j += 5) check({i, j});
  for (size_t size = 1; size < 60; ++size) {
    std::vector<size_t> cuts;
    for (size_t at = size; at < stream.size(); at += size) cuts.push_back(at);
    check(cuts);
  }
}

TEST_CASE("a frame that lies whole in the bytes is not copied", "[dist]") {
  std::vector<std::byte> stream = encode(grad(10, 1));
  const std::vector<std::byte> second = encode(grad(100, 2));
  stream.insert(stream.end(), second.begin(), second.end());
  FrameDecoder decoder;
  std::vector<const std::byte*> places;
  const auto note = [&](const FrameHeader&, Bytes payload) {
    places.push_back(payload.data());
    return true;
  };
  REQUIRE(decoder.feed(Bytes(stream).first(stream.size() - 1), note) == Refusal::none);
  CHECK(places == std::vector<const std::byte*>{stream.data() + kHeaderBytes});
  CHECK(decoder.pending() == second.size() - 1);
  REQUIRE(decoder.feed(Bytes(stream).last(1), note) == Refusal::none);
  CHECK(places.size() == 2);
  CHECK(decoder.pending() == 0);
}

TEST_CASE("any flipped bit is refused", "[dist]") {
  const std::vector<std::byte> frame = encode(grad(33, 9));
  for (size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    CAPTURE(bit);
    std::vector<std::byte> flipped = frame;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    // A flip can make the length larger: bytes that follow show that the frame is not what it says.
    flipped.resize(kHeaderBytes + kMaxPayload);
    Receiver receiver;
    const Refusal refusal = receiver.feed(flipped);
    CHECK(receiver.frames.empty());
    const size_t byte = bit / 8;
    if (byte < 4) {
      CHECK(refusal == Refusal::bad_magic);
    } else if (byte == 4) {
      CHECK(refusal == Refusal::bad_version);
    } else if (byte == 6) {
      CHECK((refusal == Refusal::bad_checksum || refusal == Refusal::unknown_type || refusal == Refusal::oversized));
    } else if (byte >= 40 && byte < 44) {
      CHECK((refusal == Refusal::bad_checksum || refusal == Refusal::oversized));
    } else {
      CHECK(refusal == Refusal::bad_checksum);
    }
  }
}

TEST_CASE("other protocols are refused with the first byte", "[dist]") {
  CHECK(refusal_of(bytes_of("\x80\x04\x95\x1a")) == Refusal::bad_magic);  // pickle, protocol 4
  CHECK(refusal_of(bytes_of("\x80")) == Refusal::bad_magic);
  CHECK(refusal_of(bytes_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == Refusal::bad_magic);
  CHECK(refusal_of(bytes_of("\x16\x03\x01\x02")) == Refusal::bad_magic);  // TLS
  CHECK(refusal_of(bytes_of("TERM")) == Refusal::bad_magic);
  CHECK(refusal_of(bytes_of("TER")) == Refusal::none);
  Receiver split;
  CHECK(split.feed(bytes_of("TE")) == Refusal::none);
  CHECK(split.decoder.pending() == 2);
  CHECK(split.feed(bytes_of("RM")) == Refusal::bad_magic);
}

TEST_CASE("a bad header is refused as soon as its bytes are there", "[dist]") {
  const std::vector<std::byte> frame = encode(grad(20, 1));
  struct Row {
    size_t at;
    int value;
    Refusal refusal;
  };
  for (const Row& row :
       {Row{4, kMajor + 1, Refusal::bad_version}, Row{4, 0, Refusal::bad_version}, Row{6, 0, Refusal::unknown_type},
        Row{6, kFrameTypes + 1, Refusal::unknown_type}, Row{6, 255, Refusal::unknown_type}, Row{43, 1, Refusal::oversized},
        Row{43, 255, Refusal::oversized}}) {
    CAPTURE(row.at, row.value);
    const std::vector<std::byte> bad = with_byte(frame, row.at, row.value);
    Receiver whole, slow;
    CHECK(whole.feed(bad) == row.refusal);
    CHECK(whole.frames.empty());
    CHECK(slow.feed(Bytes(bad).first(row.at)) == Refusal::none);
    CHECK(slow.feed(Bytes(bad).subspan(row.at, 1)) == row.refusal);
  }
  Receiver other_minor;
  CHECK(other_minor.feed(with_byte(frame, 5, 200)) == Refusal::none);
  CHECK(other_minor.frames.size() == 1);
}

TEST_CASE("pieces fit a frame and are as many as 16 bits count", "[dist]") {
  constexpr uint64_t kMost = uint64_t{65535} << 20;
  for (uint64_t total = 1; total <= kMost / 2; total = total * 3 / 2 + 1) {
    CAPTURE(total);
    const size_t bytes = piece_bytes(total);
    CHECK((bytes >= (size_t{128} << 10) && bytes <= kMaxPayload));
    CHECK((total + bytes - 1) / bytes + 2 <= 65536);  // a result has its length and its digest in pieces of their own
  }
  CHECK(piece_bytes(1'194'280) == size_t{128} << 10);
}

TEST_CASE("a payload is bounded by its type", "[dist]") {
  CHECK(max_payload(FrameType::params) == kMaxPayload);
  CHECK(max_payload(FrameType::grad) == kMaxPayload);
  CHECK(max_payload(static_cast<FrameType>(0)) == 0);
  CHECK(max_payload(static_cast<FrameType>(kFrameTypes + 1)) == 0);
  for (int type = 1; type <= kFrameTypes; ++type) {
    FrameHeader header;
    header.type = static_cast<FrameType>(type);
    const size_t largest = max_payload(header.type);
    CAPTURE(name_of(header.type), largest);
    CHECK_THROWS_AS(encode_header(header, std::vector<std::byte>(largest + 1)), tern::Error);
    std::vector<std::byte> frame = whole_frame(header, std::vector<std::byte>(largest));
    CHECK(refusal_of(frame) == Refusal::none);
    for (size_t i = 0; i < 4; ++i) frame[40 + i] = static_cast<std::byte>((largest + 1) >> (8 * i));
    Receiver receiver;
    CHECK(receiver.feed(Bytes(frame).first(44)) == Refusal::oversized);
  }
}

TEST_CASE("after an error or a stop nothing is read", "[dist]") {
  const std::vector<std::byte> good = encode(grad(8, 1));
  std::vector<std::byte> stream = good;
  std::vector<std::byte> bad = good;
  bad.back() ^= std::byte{1};
  stream.insert(stream.end(), bad.begin(), bad.end());
  stream.insert(stream.end(), good.begin(), good.end());
  Receiver receiver;
  CHECK(receiver.feed(stream) == Refusal::bad_checksum);
  CHECK(receiver.frames.size() == 1);
  CHECK(receiver.feed(good) == Refusal::bad_checksum);
  CHECK(receiver.frames.size() == 1);

  for (const bool throws : {false, true}) {
    FrameDecoder stopped;
    int calls = 0;
    const auto stop = [&](const FrameHeader&, Bytes) {
      ++calls;
      if (throws) throw std::runtime_error("no");
      return false;
    };
    const auto feed = [&] { return stopped.feed(good, stop); };
    if (throws) {
      CHECK_THROWS_AS(feed(), std::runtime_error);
    } else {
      CHECK(feed() == Refusal::none);
    }
    CHECK(feed() == Refusal::none);
    CHECK(calls == 1);
  }
}

TEST_CASE("frame types and refusals have names", "[dist]") {
  CHECK(name_of(FrameType::hello) == "HELLO");
  CHECK(name_of(FrameType::grad_ack) == "GRAD_ACK");
  CHECK(name_of(FrameType::error) == "ERROR");
  CHECK(name_of(static_cast<FrameType>(77)) == "type 77");
  CHECK(name_of(Refusal::none) == "none");
  CHECK(name_of(Refusal::data_mismatch) == "data_mismatch");
  CHECK(name_of(Refusal::stopping) == "stopping");
  CHECK(name_of(static_cast<Refusal>(kRefusals)) == "unknown");
}
