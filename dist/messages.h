#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dist/frame.h"

/// What frames carry, one struct a type. encode() gives the payload; decode() reads it back and gives nothing when it is
/// not exactly such a message: too short, too long, a text over its bound or not UTF-8, a number out of its range. What
/// decodes encodes to the same bytes.
namespace tern::dist {

// Limits of what messages say.
inline constexpr size_t kMostSlots = 4096, kMostShards = 256, kLongestAddress = 300;
inline constexpr float kLongestLane = 86400;  ///< seconds

using Digest = std::array<std::byte, 16>;  ///< XXH3, 128 bits: finds accidents, not forgers, whom TLS keeps out

/// When the parameters move. bsp: after each step, exactly as one process would. asp, ssp: each result by itself, as it
/// comes. epoch: once an epoch, by the gradients of all its steps.
enum class Mode : uint8_t { bsp, asp, ssp, epoch };
inline constexpr int kModes = 4;
std::string_view name_of(Mode mode);
/// Whether two workers' results for the same lanes must be the same: not when each takes the parameters of its time.
bool is_exact(Mode mode);

/// A result (GRAD) comes in pieces, so that a worker can send what it has while it still computes. The first is the length
/// of the body, u64; then come parts of the body, from its end to its beginning; the last, flagged, is the body's digest.
inline constexpr size_t kResultLength = sizeof(uint64_t);

/// What a client is. worker: computes lanes. link: such a worker's connection with a shard. shard: adds up a part of the
/// gradients that workers computed.
enum class Role : uint8_t { worker, link, shard };

struct Hello {
  uint8_t oldest_major = kMajor, newest_major = kMajor;  ///< versions that the worker speaks
  std::string name;          ///< for people; 1 to 64 bytes without control characters
  std::string device_class;  ///< "cpu avx512", a GPU's name; at most 128 bytes without control characters
  std::string build;         ///< of the program, "0.1.0 (4482b67, compiler 12.2.0)": of two that differ the bits may, too; as device_class
  uint64_t instance = 0;     ///< drawn at start: a reconnecting worker is known by it
  uint32_t threads = 1;  ///< at least 1
  Role role = Role::worker;
  std::string address;   ///< where workers reach a shard, HOST:PORT; without HOST: whence it comes. At most kLongestAddress bytes; of other roles empty
};

/// How gradients travel. topk: of each lane the entries of largest magnitude, as (index u32, value f32); the worker keeps the
/// rest and adds it to the lane's next gradient (dist/residuals.h).
enum class Wire : uint8_t { f32, f16, topk };

struct Welcome {
  uint32_t worker = 0;         ///< the id for this connection
  uint32_t heartbeat_ms = 1000;  ///< at least 1
  uint32_t lanes = 0, micro_batch = 0;
  Wire wire = Wire::f32;
  Mode mode = Mode::bsp;
  uint64_t parameters = 0;     ///< floats in the flat arena
  uint64_t top_k = 0;          ///< entries that a lane sends; over 0 with Wire::topk alone, at most `parameters`, which then are at most 2^32
  uint64_t statistics = 0;     ///< floats of BatchNorm statistics a lane
  Digest model = {};           ///< of names, shapes and places of the parameters
  Digest data = {};            ///< of the training pictures and labels
  std::string config;          ///< JSON, whole; at most 256 KiB
};

enum class WorkerState : uint8_t { preparing, ready /* and idle */, computing, leaving };

/// The worker's; the server's is empty.
struct Heartbeat {
  WorkerState state = WorkerState::preparing;
  uint64_t lanes_done = 0;   ///< by the computing thread, since HELLO: what shows that it does not hang
  float lane_seconds = 0;    ///< time of a lane, lately; 0: unknown; at most kLongestLane
  Digest model = {}, data = {};  ///< what the worker has; checked when it is ready
};

/// Lanes [first, first + count) of a step, folded into one pass: a node of the canonical tree.
struct SlotRange {
  uint16_t slot = 0;
  uint16_t first = 0, count = 0;  ///< count at least 1, first + count at most 65535
  bool carried = false;  ///< Wire::topk: with what this worker held back of the lane in the step before
};

struct Assign {
  uint64_t version = 0;  ///< parameters to compute with
  uint32_t epoch = 0;    ///< from 0
  uint32_t step_in_epoch = 0;
  uint32_t steps = 1;    ///< mode epoch: steps whose gradients are added; at least 1
  float loss_scale = 1;  ///< finite, over 0
  bool whole = false;    ///< Wire::topk: gradients come as f32, with what was held back
  std::vector<SlotRange> slots;  ///< 1 to kMostSlots, no `slot` twice
};

/// A process that takes floats [first, first + count) of all gradients, and hands out these of the parameters.
struct ShardRange {
  uint64_t instance = 0;  ///< Hello's
  std::string address;    ///< HOST:PORT, 1 to kLongestAddress bytes
  uint64_t first = 0, count = 0;  ///< count at least 1
};

/// Where gradients go from now on. Without shards: to the server, whole. With shards: of each result they get their part, and
/// the server the rest, followed by the digests of the parts, 16 bytes each.
struct Shards {
  uint64_t layout = 0;        ///< takes the place of run_epoch in GRAD and on connections with shards; none comes twice
  std::vector<ShardRange> shards;  ///< at most kMostShards; each begins where the one before ends, the first at 0
};

struct Nack {
  enum class Reason : uint8_t { late, stale_run, not_assigned };
  Reason reason = Reason::late;
};

struct Commit {
  Digest parameters = {};
};

struct Drain {
  enum class Reason : uint8_t { complete, stopped, leaving };  ///< the last is the worker's
  Reason reason = Reason::complete;
};

struct ErrorMessage {
  Refusal code = Refusal::none;
  std::string text;  ///< at most 512 bytes; encode() cuts it there, or where it is not UTF-8
};

/// Throws Error, naming the message, when decode() would refuse what is to be encoded.
std::vector<std::byte> encode(const Hello&);
std::vector<std::byte> encode(const Welcome&);
std::vector<std::byte> encode(const Heartbeat&);
std::vector<std::byte> encode(const Assign&);
std::vector<std::byte> encode(const Shards&);
std::vector<std::byte> encode(const Nack&);
std::vector<std::byte> encode(const Commit&);
std::vector<std::byte> encode(const Drain&);
std::vector<std::byte> encode(const ErrorMessage&);

/// T is one of the structs above.
template <class T>
std::optional<T> decode(Bytes payload);

/// Whether a text is UTF-8 without control characters: fit for one line of a log or a table.
bool is_line(std::string_view text);

/// XXH3-128 of `bytes`, in its canonical order. Ref: github.com/Cyan4973/xxHash.
Digest digest_of(Bytes bytes);
/// 32 hexadecimal digits, as `xxhsum -H2` prints them.
std::string hex(const Digest& digest);

}  // namespace tern::dist
