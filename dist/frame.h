#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// The wire format: frames of 48 bytes of header and at most 1 MiB of payload, both little-endian. Ref: docs/distributed.md.
namespace tern::dist {

using Bytes = std::span<const std::byte>;

inline constexpr size_t kHeaderBytes = 48;
inline constexpr size_t kMaxPayload = size_t{1} << 20;
inline constexpr uint32_t kMagic = 0x4e524554;  // "TERN"
inline constexpr uint8_t kMajor = 4, kMinor = 0;

enum class FrameType : uint8_t {
  hello = 1,  ///< worker: who it is, and which versions it speaks
  welcome,    ///< server: its id, and what is trained
  assign,     ///< server: the parts of a step that this worker shall compute
  params,     ///< server: a piece of the parameters
  grad,       ///< worker: a piece of a result
  grad_ack,   ///< server: that result is in
  commit,     ///< server: a step was taken
  heartbeat,  ///< both: alive; the worker's also says what it has done
  nack,       ///< server: that result is not wanted (late, or nobody's)
  rebase,     ///< server: everything before this step is void
  drain,      ///< server: training ends; worker: it leaves when it has sent what it owes
  bye,        ///< both: nothing will follow
  error,      ///< both: why the connection closes
  shards,     ///< server: who takes which part of gradients; results that began before are void
};
inline constexpr int kFrameTypes = 14;
/// "HELLO"; "type 77" for what is none.
std::string name_of(FrameType type);

/// Why a connection is closed: the code in an ERROR frame, and the label of the counter on the server.
enum class Refusal : uint16_t {
  none = 0,
  bad_magic,         ///< not tern's protocol: pickle bytes, HTTP ...
  bad_version,       ///< no version that both speak
  bad_checksum,
  oversized,         ///< a payload over 1 MiB, or more than its type can have
  unknown_type,
  illegal_type,      ///< a known type that may not come now
  malformed,         ///< a payload that does not parse
  model_mismatch,    ///< the worker's network has other parameters
  data_mismatch,     ///< the worker's data set is not the run's
  device_mismatch,   ///< another device class computes other bits
  conflict,          ///< a second result for a slot that differs from the first
  too_slow,          ///< no progress: handshake, frame or lease ran out
  too_many,          ///< connections from one address, or workers in all
  stopping,          ///< the server ends
  not_wanted,        ///< a role for which there is no use here
};
inline constexpr int kRefusals = 16;
/// "data_mismatch"
std::string_view name_of(Refusal refusal);

struct FrameHeader {
  FrameType type = FrameType::hello;
  uint8_t major = kMajor, minor = kMinor;
  uint8_t flags = 0;       ///< bit 0: the last piece of a result, of the parameters, or of what a shard is to add up
  uint64_t run_epoch = 0;  ///< the server's incarnation: grows with each start, so that older ones are told apart; GRAD: the layout (Shards)
  uint64_t step = 0;       ///< of the task, from 0 over the whole run; PARAMS: the version, which is the number of updates
  uint64_t seq = 0;        ///< counts this sender's frames on this connection, from 0
  uint32_t worker = 0;     ///< the worker's id; 0 before WELCOME
  uint16_t slot = 0;       ///< which of the task's parts
  uint16_t piece = 0;      ///< of a result or of the parameters, from 0
  uint32_t length = 0;     ///< payload bytes
};
inline constexpr uint8_t kLastPiece = 1;

/// The most bytes that a payload of this type can have: kMaxPayload for PARAMS and GRAD, those of the largest message
/// (dist/messages.h) for types that carry one, 0 for GRAD_ACK, REBASE and BYE.
size_t max_payload(FrameType type);

/// Payload of the pieces into which parameters or a result of `total` bytes are cut. While a piece is checked and copied the next
/// one is on its way, so they are short; of 8 GB and more they are longer, because 16 bits count them.
size_t piece_bytes(size_t total);

/// The 48 bytes that precede `payload`: sets length and checksum, which is the CRC-32C (core/crc32c.h) of the 44 bytes
/// before it and the payload. Throws Error when the payload is longer than its type can have.
std::array<std::byte, kHeaderBytes> encode_header(FrameHeader header, Bytes payload);

/// Cuts a stream of bytes into frames. Holds at most one unfinished frame, and copies none that lies whole in the bytes
/// that it is fed. What is wrong is found as early as the bytes allow: a wrong magic with the first byte, length before
/// anything is allocated for it.
class FrameDecoder {
 public:
  using OnFrame = std::function<bool(const FrameHeader&, Bytes payload)>;

  /// Takes bytes in pieces of any size and calls `on_frame(header, payload)` for each whole frame; the payload is void
  /// after the call, which must leave the decoder alive. on_frame returns false to stop reading. Returns what is wrong
  /// with the stream, Refusal::none when nothing is; after an error or a stop (on_frame throwing is one) the decoder
  /// takes no more bytes.
  Refusal feed(Bytes bytes, const OnFrame& on_frame);

  /// Bytes of an unfinished frame that are held.
  size_t pending() const { return buffer_.size(); }

 private:
  void deliver(Bytes frame, const OnFrame& on_frame);
  void refuse(Refusal why);

  std::vector<std::byte> buffer_;
  Refusal refusal_ = Refusal::none;
  bool stopped_ = false;
};

}  // namespace tern::dist
