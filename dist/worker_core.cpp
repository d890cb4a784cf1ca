#include "dist/worker_core.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace tern::dist {
namespace {

constexpr size_t kMostQueued = 65536;               // parts of steps
constexpr uint32_t kMostLanes = 65535;              // that a part can name
constexpr uint64_t kMostParameters = uint64_t{1} << 38;
constexpr size_t kReserved = size_t{1} << 30;       // bytes that are believed before they have come

/// Whether slots are numbered from 0 and make up a step's lanes, as nodes of the canonical tree.
bool is_cut(const std::vector<SlotRange>& slots) {
  int lanes = 0;
  std::vector<LaneRange> ranges;
  for (const SlotRange& slot : slots) {
    if (slot.slot != ranges.size()) return false;
    ranges.push_back({slot.first, slot.count});
    lanes = std::max(lanes, slot.first + slot.count);
  }
  std::ranges::sort(ranges, {}, &LaneRange::first);
  try {
    tree_additions(lanes, ranges);
    return true;
  } catch (const ShapeError&) {
    return false;
  }
}

}  // namespace

WorkerCore::WorkerCore(WorkerOptions options) : options_(std::move(options)) {
  encode(options_.hello);  // throws here what would else be thrown at the first connection
}

// ---- the connection

void WorkerCore::connected(Millis now) {
  online_ = true;
  welcomed_ = false;
  decoder_ = FrameDecoder();
  received_seq_ = sent_seq_ = 0;
  sending_.reset();
  heard_ = beat_sent_ = now;
  frames_.clear();
  close_ = close_taken_ = false;
  send(FrameType::hello, encode(options_.hello));
}

/// What was assigned on a connection is void when it ends: the server gives it to others.
void WorkerCore::disconnected(Millis) {
  online_ = false;
  queue_.clear();
  computing_.reset();
  sending_.reset();
  parameters_.reset();
  layout_ = {};
  sum_ = {};
  sum_whole_ = false;
  frames_.clear();
}

void WorkerCore::received(Bytes bytes, Millis now) {
  if (!online_ || close_) return;
  const Refusal fault = decoder_.feed(bytes, [&](const FrameHeader& header, Bytes payload) { return on_frame(header, payload, now) && !close_; });
  if (fault == Refusal::none || close_) return;
  if (!passing(fault)) refused_ = ErrorMessage{fault, "this program speaks version " + std::to_string(kMajor) + " of the wire"};
  fail(fault, "what came from the server is no frame of tern");
}

void WorkerCore::tick(Millis now) {
  if (!online_ || close_) return;
  if (now - heard_ > options_.silence) {
    notes_.push_back("nothing heard from the server for " + std::to_string(now - heard_) + " ms: connecting anew");
    close_ = true;
    return;
  }
  if (welcomed_ && now - beat_sent_ >= terms_->heartbeat_ms) beat(now);
}

void WorkerCore::beat(Millis now) {
  beat_sent_ = now;
  Heartbeat message;
  // Not `computing_`: a thread that hangs, be it in work of an earlier connection or in none, is not ready for more.
  const bool asked = std::exchange(asked_, false);
  const bool busy = busy_ || !queue_.empty() || !asked;
  message.state = leaving_ ? WorkerState::leaving : !digests_ ? WorkerState::preparing : busy ? WorkerState::computing : WorkerState::ready;
  message.lanes_done = lanes_done_;
  message.lane_seconds = std::min(static_cast<float>(lane_seconds_), kLongestLane);
  if (digests_) std::tie(message.model, message.data) = *digests_;
  send(FrameType::heartbeat, encode(message));
}

// ---- frames

/// Whether the next connection may fare better. A damaged byte in plain text looks like any fault of a frame.
bool WorkerCore::passing(Refusal why) const {
  switch (why) {
    case Refusal::too_slow:
    case Refusal::too_many:
    case Refusal::malformed:
    case Refusal::oversized:
    case Refusal::unknown_type:
    case Refusal::bad_checksum:
    case Refusal::bad_magic: return true;
    case Refusal::bad_version: return terms_.has_value();  // both had the same before
    default: return false;
  }
}

bool WorkerCore::on_frame(const FrameHeader& header, Bytes payload, Millis now) {
  if (header.seq < received_seq_) return true;  // brought twice by the network
  if (header.seq > received_seq_) return fail(Refusal::malformed, "frames are missing");
  ++received_seq_;
  heard_ = now;
  if (header.type == FrameType::error) {
    const auto error = decode<ErrorMessage>(payload);
    if (!error) return fail(Refusal::malformed, "ERROR does not parse");
    if (error->code == Refusal::stopping) {
      drained_ = Drain::Reason::stopped;
    } else if (passing(error->code)) {
      notes_.push_back("the server closes the connection (" + std::string(name_of(error->code)) + "): " + error->text);
    } else {
      refused_ = *error;
    }
    close_ = true;
    return false;
  }
  if (header.type == FrameType::welcome) return on_welcome(header, payload, now);
  if (header.type == FrameType::drain) {
    const auto drain = decode<Drain>(payload);
    if (!drain) return fail(Refusal::malformed, "DRAIN does not parse");
    drained_ = drain->reason;
    return true;
  }
  if (header.type == FrameType::bye) {
    left_ = true;
    close_ = true;
    return false;
  }
  if (!online() || header.run_epoch != run_epoch_) return fail(Refusal::illegal_type, name_of(header.type) + " before WELCOME, or of another run");
  switch (header.type) {
    case FrameType::heartbeat: return true;
    case FrameType::params: return on_params(header, payload);
    case FrameType::assign: return on_assign(header, payload);
    case FrameType::commit: {
      if (!decode<Commit>(payload)) return fail(Refusal::malformed, "COMMIT does not parse");
      committed_ = std::max(committed_, header.step + 1);
      if (exact()) forget_before(header.step + 1);  // what is left of it was done by another
      return true;
    }
    case FrameType::rebase:
      forget_before(header.step);
      queue_.clear();  // the server took it away before it sent this
      return true;
    case FrameType::shards: return on_shards(payload);
    case FrameType::grad_ack:
      note_answer(header);
      return true;
    case FrameType::nack:
      if (!decode<Nack>(payload)) return fail(Refusal::malformed, "NACK does not parse");
      note_answer(header);
      if (computing_ == std::pair{header.step, header.slot}) computing_.reset();  // if it is given back, it is computed anew
      return true;
    default: return fail(Refusal::illegal_type, name_of(header.type) + " is not the server's to send");
  }
}

void WorkerCore::note_answer(const FrameHeader& header) {
  if (answering_ == std::pair{header.step, header.slot}) answer_ = header.type;
}

/// What was begun for another layout is void.
bool WorkerCore::on_shards(Bytes payload) {
  const auto layout = decode<Shards>(payload);
  if (!layout) return fail(Refusal::malformed, "SHARDS does not parse");
  const uint64_t end = layout->shards.empty() ? terms_->parameters : layout->shards.back().first + layout->shards.back().count;
  if (layout->layout < layout_.layout) return fail(Refusal::malformed, "SHARDS tells of a layout that is over");
  if (end != terms_->parameters || terms_->wire == Wire::topk || !exact()) return fail(Refusal::malformed, "SHARDS does not fit what is trained");
  layout_ = *layout;
  const auto mine = std::ranges::find(layout_.shards, options_.hello.instance, &ShardRange::instance);
  parameters_here_ = options_.hello.role == Role::shard ? (mine == layout_.shards.end() ? 0 : mine->count) : layout_.shards.empty() ? end : 0;
  queue_.clear();
  computing_.reset();
  parameters_.reset();
  sum_ = {};
  sum_whole_ = false;
  return true;
}

bool WorkerCore::on_sum_task(const FrameHeader& header, const Assign& assign) {
  if (sum_whole_ || sum_.step != header.step) sum_ = {header.step, assign.version, header.slot, {}};
  sum_.slots.insert(sum_.slots.end(), assign.slots.begin(), assign.slots.end());
  if (sum_.slots.size() > kMostLanes || header.slot >= layout_.shards.size()) return fail(Refusal::malformed, "ASSIGN does not fit the shards");
  sum_whole_ = (header.flags & kLastPiece) != 0;
  if (sum_whole_ && !is_cut(sum_.slots)) return fail(Refusal::malformed, "ASSIGN's slots do not make up a step");
  return true;
}

bool WorkerCore::on_assign(const FrameHeader& header, Bytes payload) {
  const auto assign = decode<Assign>(payload);
  if (!assign) return fail(Refusal::malformed, "ASSIGN does not parse");
  if (queue_.size() + assign->slots.size() > kMostQueued) return fail(Refusal::malformed, "more is assigned than a step can have");
  const bool topk = terms_->wire == Wire::topk;
  if (assign->whole && !topk) return fail(Refusal::malformed, "ASSIGN wants whole gradients where all are");
  for (const SlotRange& slot : assign->slots) {
    if (slot.first + slot.count > static_cast<int>(terms_->lanes)) return fail(Refusal::malformed, "ASSIGN names lanes that are not there");
    if (topk ? slot.count > 1 : slot.carried) return fail(Refusal::malformed, "ASSIGN has lanes that do not fit how gradients travel");
  }
  floor_ = std::min(floor_, header.step);  // the server's last word counts
  if (options_.hello.role == Role::shard) return on_sum_task(header, *assign);
  const auto message = std::make_shared<const Assign>(*assign);
  for (const SlotRange& slot : assign->slots)
    if (computing_ != std::pair{header.step, slot.slot})  // else it was lost and given back: the result is on its way
      queue_.push_back({message, header.step, slot});
  return true;
}

bool WorkerCore::on_welcome(const FrameHeader& header, Bytes payload, Millis now) {
  const auto welcome = decode<Welcome>(payload);
  if (!welcome || welcome->lanes > kMostLanes || welcome->parameters > kMostParameters) return fail(Refusal::malformed, "WELCOME does not parse");
  if (welcomed_) return fail(Refusal::illegal_type, "a second WELCOME");
  const bool same = terms_ && terms_->config == welcome->config && terms_->model == welcome->model && terms_->data == welcome->data;
  if (!same) digests_.reset();
  terms_ = *welcome;
  welcomed_ = true;
  ++welcomes_;
  run_epoch_ = header.run_epoch;
  layout_ = {run_epoch_, {}};
  parameters_here_ = terms_->parameters;
  floor_ = 0;
  beat(now);
  if (leaving_) send(FrameType::drain, encode(Drain{Drain::Reason::leaving}));
  return true;
}

bool WorkerCore::on_params(const FrameHeader& header, Bytes payload) {
  if (header.piece == 0) {
    // The buffer of an earlier version may still be computed with.
    parameters_.emplace(Parameters{header.step, std::make_shared<std::vector<std::byte>>(), 0, false});
    parameters_->bytes->reserve(std::min<size_t>(parameters_here_ * sizeof(float), kReserved));
  }
  if (!parameters_ || parameters_->whole || parameters_->version != header.step || parameters_->pieces != header.piece)
    return fail(Refusal::malformed, "a piece of the parameters is out of order");
  std::vector<std::byte>& bytes = *parameters_->bytes;
  if (bytes.size() + payload.size() > parameters_here_ * sizeof(float)) return fail(Refusal::oversized, "more parameters than the model has");
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  ++parameters_->pieces;
  if ((header.flags & kLastPiece) == 0) return true;
  if (bytes.size() != parameters_here_ * sizeof(float)) return fail(Refusal::malformed, "fewer parameters than the model has");
  parameters_->whole = true;
  return true;
}

void WorkerCore::forget_before(uint64_t step) {
  floor_ = std::max(floor_, step);
  std::erase_if(queue_, [&](const Assigned& a) { return a.step < floor_; });
}

void WorkerCore::send(FrameType type, std::vector<std::byte> payload, uint64_t step, uint16_t slot) {
  auto owned = std::make_shared<std::vector<std::byte>>(std::move(payload));
  FrameHeader header;
  header.type = type;
  header.run_epoch = run_epoch_;
  header.step = step;
  header.seq = sent_seq_++;
  header.worker = terms_ ? terms_->worker : 0;
  header.slot = slot;
  frames_.push_back({encode_header(header, *owned), *owned, owned});
}

/// The server breaks the protocol, or cannot be served. Returns false: nothing more is read.
bool WorkerCore::fail(Refusal why, const std::string& text) {
  notes_.push_back("connection closed (" + std::string(name_of(why)) + "): " + text);
  send(FrameType::error, encode(ErrorMessage{why, text}));
  close_ = true;
  return false;
}

std::vector<Outgoing> WorkerCore::take_frames() { return std::exchange(frames_, {}); }

}  // namespace tern::dist
