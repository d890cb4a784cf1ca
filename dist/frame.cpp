#include "dist/frame.h"

#include <algorithm>
#include <utility>

#include "core/crc32c.h"
#include "core/error.h"
#include "dist/byte_io.h"

namespace tern::dist {
namespace {

// Where the header's fields lie.
constexpr size_t kAtMagic = 0, kAtMajor = 4, kAtMinor = 5, kAtType = 6, kAtFlags = 7, kAtRunEpoch = 8, kAtStep = 16,
                 kAtSeq = 24, kAtWorker = 32, kAtSlot = 36, kAtPiece = 38, kAtLength = 40, kAtChecksum = 44;
static_assert(kAtChecksum + sizeof(uint32_t) == kHeaderBytes);

struct TypeInfo {
  std::string_view name;
  size_t max_payload;
};

// Message sizes are those of dist/messages.cpp; texts have 4 bytes of length before them.
constexpr std::array<TypeInfo, kFrameTypes> kTypes{{
    {"HELLO", 2 + (4 + 64) + 2 * (4 + 128) + 8 + 4 + 1 + (4 + 300)},
    {"WELCOME", 4 * 4 + 2 + 3 * 8 + 2 * 16 + 4 + (size_t{256} << 10)},
    {"ASSIGN", 8 + 4 * 4 + 1 + 2 + 4096 * 7},
    {"PARAMS", kMaxPayload},
    {"GRAD", kMaxPayload},
    {"GRAD_ACK", 0},
    {"COMMIT", 16},
    {"HEARTBEAT", 1 + 8 + 4 + 2 * 16},
    {"NACK", 1},
    {"REBASE", 0},
    {"DRAIN", 1},
    {"BYE", 0},
    {"ERROR", 2 + 4 + 512},
    {"SHARDS", 8 + 2 + 256 * (8 + (4 + 300) + 2 * 8)},
}};

constexpr std::array<std::string_view, kRefusals> kRefusalNames{
    "none",         "bad_magic", "bad_version",    "bad_checksum",  "oversized",       "unknown_type",
    "illegal_type", "malformed", "model_mismatch", "data_mismatch", "device_mismatch", "conflict",
    "too_slow",     "too_many",  "stopping",       "not_wanted"};

const TypeInfo* find_type(FrameType type) {
  const size_t index = static_cast<size_t>(type) - 1;  // of 0: beyond the end
  return index < kTypes.size() ? &kTypes[index] : nullptr;
}

uint32_t checksum(Bytes header, Bytes payload) { return crc32c(payload, crc32c(header.first(kAtChecksum))); }

/// What the first bytes of a frame tell.
struct Beginning {
  Refusal refusal = Refusal::none;
  size_t wanted = kHeaderBytes;  ///< bytes of the frame as far as known
};

Beginning inspect(Bytes bytes) {
  std::array<std::byte, sizeof kMagic> magic;
  store(magic.data(), kMagic);
  const size_t there = std::min(bytes.size(), magic.size());
  if (!std::equal(magic.begin(), magic.begin() + there, bytes.begin())) return {Refusal::bad_magic};
  if (bytes.size() > kAtMajor && load<uint8_t>(&bytes[kAtMajor]) != kMajor) return {Refusal::bad_version};
  if (bytes.size() <= kAtType) return {};
  const TypeInfo* type = find_type(load<FrameType>(&bytes[kAtType]));
  if (type == nullptr) return {Refusal::unknown_type};
  if (bytes.size() < kAtLength + sizeof(uint32_t)) return {};
  const uint32_t length = load<uint32_t>(&bytes[kAtLength]);
  if (length > type->max_payload) return {Refusal::oversized};
  return {Refusal::none, kHeaderBytes + length};
}

FrameHeader read_header(Bytes bytes) {
  FrameHeader header;
  header.type = load<FrameType>(&bytes[kAtType]);
  header.major = load<uint8_t>(&bytes[kAtMajor]);
  header.minor = load<uint8_t>(&bytes[kAtMinor]);
  header.flags = load<uint8_t>(&bytes[kAtFlags]);
  header.run_epoch = load<uint64_t>(&bytes[kAtRunEpoch]);
  header.step = load<uint64_t>(&bytes[kAtStep]);
  header.seq = load<uint64_t>(&bytes[kAtSeq]);
  header.worker = load<uint32_t>(&bytes[kAtWorker]);
  header.slot = load<uint16_t>(&bytes[kAtSlot]);
  header.piece = load<uint16_t>(&bytes[kAtPiece]);
  header.length = load<uint32_t>(&bytes[kAtLength]);
  return header;
}

}  // namespace

std::string name_of(FrameType type) {
  if (const TypeInfo* info = find_type(type)) return std::string(info->name);
  return "type " + std::to_string(static_cast<int>(type));
}

std::string_view name_of(Refusal refusal) {
  const size_t index = static_cast<size_t>(refusal);
  return index < kRefusalNames.size() ? kRefusalNames[index] : "unknown";
}

size_t max_payload(FrameType type) {
  const TypeInfo* info = find_type(type);
  return info ? info->max_payload : 0;
}

size_t piece_bytes(size_t total) {
  constexpr size_t kShortest = size_t{128} << 10, kMostPieces = 65000;
  size_t bytes = kShortest;
  while (bytes < kMaxPayload && total / bytes >= kMostPieces) bytes *= 2;
  return bytes;
}

std::array<std::byte, kHeaderBytes> encode_header(FrameHeader header, Bytes payload) {
  if (payload.size() > max_payload(header.type))
    throw Error("a frame " + name_of(header.type) + " has " + std::to_string(payload.size()) +
                " bytes of payload, at most " + std::to_string(max_payload(header.type)) + " are possible");
  std::array<std::byte, kHeaderBytes> bytes{};
  store(&bytes[kAtMagic], kMagic);
  store(&bytes[kAtMajor], header.major);
  store(&bytes[kAtMinor], header.minor);
  store(&bytes[kAtType], header.type);
  store(&bytes[kAtFlags], header.flags);
  store(&bytes[kAtRunEpoch], header.run_epoch);
  store(&bytes[kAtStep], header.step);
  store(&bytes[kAtSeq], header.seq);
  store(&bytes[kAtWorker], header.worker);
  store(&bytes[kAtSlot], header.slot);
  store(&bytes[kAtPiece], header.piece);
  store(&bytes[kAtLength], static_cast<uint32_t>(payload.size()));
  store(&bytes[kAtChecksum], checksum(bytes, payload));
  return bytes;
}

Refusal FrameDecoder::feed(Bytes bytes, const OnFrame& on_frame) {
  while (!stopped_ && !bytes.empty()) {
    const Beginning known = inspect(buffer_.empty() ? bytes : Bytes(buffer_));
    if (known.refusal != Refusal::none) {
      refuse(known.refusal);
    } else if (buffer_.empty() && bytes.size() >= known.wanted) {
      deliver(bytes.first(known.wanted), on_frame);
      bytes = bytes.subspan(known.wanted);
    } else {
      const size_t taken = std::min(known.wanted - buffer_.size(), bytes.size());
      buffer_.reserve(known.wanted);
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(taken));
      bytes = bytes.subspan(taken);
      const Beginning more = inspect(buffer_);
      if (more.refusal != Refusal::none) {
        refuse(more.refusal);
      } else if (buffer_.size() == more.wanted) {
        deliver(buffer_, on_frame);
        buffer_.clear();
      }
    }
  }
  return refusal_;
}

void FrameDecoder::deliver(Bytes frame, const OnFrame& on_frame) {
  const Bytes payload = frame.subspan(kHeaderBytes);
  if (load<uint32_t>(&frame[kAtChecksum]) != checksum(frame.first(kHeaderBytes), payload))
    return refuse(Refusal::bad_checksum);
  stopped_ = true;  // in case on_frame throws
  stopped_ = !on_frame(read_header(frame), payload);
}

void FrameDecoder::refuse(Refusal why) {
  refusal_ = why;
  stopped_ = true;
}

}  // namespace tern::dist
