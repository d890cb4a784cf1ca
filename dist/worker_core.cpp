#include "dist/worker_core.h"

#include <algorithm>
#include <utility>

#include "dist/byte_io.h"

namespace tern::dist {
namespace {

constexpr size_t kMostQueued = 65536;               // parts of steps
constexpr uint32_t kMostLanes = 65535;              // that a part can name
constexpr uint64_t kMostParameters = uint64_t{1} << 38;
constexpr size_t kReserved = size_t{1} << 30;       // bytes that are believed before they have come

}  // namespace

WorkerCore::WorkerCore(WorkerOptions options) : options_(std::move(options)) {}

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
  frames_.clear();
}

void WorkerCore::received(Bytes bytes, Millis now) {
  if (!online_ || close_) return;
  const Refusal fault = decoder_.feed(bytes, [&](const FrameHeader& header, Bytes payload) { return on_frame(header, payload, now) && !close_; });
  if (fault != Refusal::none && !close_) fail(fault, "what came from the server is no frame of tern");
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
  message.lane_seconds = static_cast<float>(lane_seconds_);
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
    case FrameType::grad_ack: return true;
    case FrameType::nack:
      if (!decode<Nack>(payload)) return fail(Refusal::malformed, "NACK does not parse");
      return true;
    default: return fail(Refusal::illegal_type, name_of(header.type) + " is not the server's to send");
  }
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
  run_epoch_ = header.run_epoch;
  floor_ = 0;
  beat(now);
  if (leaving_) send(FrameType::drain, encode(Drain{Drain::Reason::leaving}));
  return true;
}

bool WorkerCore::on_params(const FrameHeader& header, Bytes payload) {
  if (header.piece == 0) {
    // The buffer of an earlier version may still be computed with.
    parameters_.emplace(Parameters{header.step, std::make_shared<std::vector<std::byte>>(), 0, false});
    parameters_->bytes->reserve(std::min<size_t>(terms_->parameters * sizeof(float), kReserved));
  }
  if (!parameters_ || parameters_->whole || parameters_->version != header.step || parameters_->pieces != header.piece)
    return fail(Refusal::malformed, "a piece of the parameters is out of order");
  std::vector<std::byte>& bytes = *parameters_->bytes;
  if (bytes.size() + payload.size() > terms_->parameters * sizeof(float)) return fail(Refusal::oversized, "more parameters than the model has");
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  ++parameters_->pieces;
  if ((header.flags & kLastPiece) == 0) return true;
  if (bytes.size() != terms_->parameters * sizeof(float)) return fail(Refusal::malformed, "fewer parameters than the model has");
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

// ---- computing

void WorkerCore::ready(const Digest& model, const Digest& data, Millis now) {
  digests_ = {model, data};
  asked_ = true;
  if (online()) beat(now);
}

void WorkerCore::refuse(Refusal why, const std::string& text) {
  refused_ = ErrorMessage{why, text};
  if (online_ && !close_) fail(why, text);
}

std::optional<Work> WorkerCore::next() {
  asked_ = true;
  if (!online() || busy_ || !parameters_ || !parameters_->whole) return std::nullopt;
  // What was begun with parameters that are gone was taken away in the meantime.
  while (exact() && !queue_.empty() && queue_.front().message->version < parameters_->version) queue_.pop_front();
  if (queue_.empty() || queue_.front().message->version > parameters_->version) return std::nullopt;  // they are on their way
  const Assigned& first = queue_.front();
  Work work{.run_epoch = run_epoch_, .step = first.step, .slot = first.slot.slot, .range = {first.slot.first, first.slot.count},
            .epoch = first.message->epoch, .step_in_epoch = first.message->step_in_epoch, .steps = first.message->steps,
            .loss_scale = first.message->loss_scale, .whole = first.message->whole, .carried = first.slot.carried, .version = parameters_->version, .parameters = parameters_->bytes};
  computing_ = {work.step, work.slot};
  busy_ = true;
  queue_.pop_front();
  return work;
}

bool WorkerCore::wanted(const Work& work) const {
  return online() && work.run_epoch == run_epoch_ && work.step >= floor_ && computing_ == std::pair{work.step, work.slot};
}

void WorkerCore::send_part(const Work& work, const std::shared_ptr<const std::vector<std::byte>>& body, size_t from) {
  if (!sending_ && !wanted(work)) return;
  if (!sending_) begin_result(work, body->size());
  if (online()) send_down_to(body, from);
}

void WorkerCore::finish(const Work& work, std::shared_ptr<const std::vector<std::byte>> body, double lane_seconds, Millis now) {
  // What was begun is ended, or the server would not know where the next one begins.
  const bool send_it = online() && body && (sending_ || wanted(work));
  if (!body && sending_) fail(Refusal::malformed, "a result that was begun is given up");
  computing_.reset();
  busy_ = false;
  asked_ = true;
  lanes_done_ += static_cast<uint64_t>(work.range.count);
  if (body) lane_seconds_ = lane_seconds_ > 0 ? 0.75 * lane_seconds_ + 0.25 * lane_seconds : lane_seconds;
  if (!send_it) {
    sending_.reset();
    if (online()) beat(now);
    return;
  }
  if (!sending_) begin_result(work, body->size());
  send_down_to(body, 0);
  const Digest digest = digest_of(*body);
  const auto last = std::make_shared<std::vector<std::byte>>(digest.begin(), digest.end());
  send_piece(*last, true, last);
  sending_.reset();
  if (now - beat_sent_ >= static_cast<Millis>(terms_->heartbeat_ms) / 2) beat(now);
}

void WorkerCore::begin_result(const Work& work, size_t size) {
  FrameHeader header;
  header.type = FrameType::grad;
  header.run_epoch = work.run_epoch;
  header.step = work.step;
  header.worker = terms_->worker;
  header.slot = work.slot;
  sending_ = Sending{header, size};
  const auto length = std::make_shared<std::vector<std::byte>>(kResultLength);
  store(length->data(), static_cast<uint64_t>(size));
  send_piece(*length, false, length);
}

/// The body is cut without being copied.
void WorkerCore::send_down_to(const std::shared_ptr<const std::vector<std::byte>>& body, size_t from) {
  while (sending_->left > from) {
    const size_t size = std::min(kMaxPayload, sending_->left - from);
    sending_->left -= size;
    send_piece(Bytes(*body).subspan(sending_->left, size), false, body);
  }
}

void WorkerCore::send_piece(Bytes piece, bool last, std::shared_ptr<const void> keep) {
  FrameHeader& header = sending_->header;
  header.seq = sent_seq_++;
  header.flags = last ? kLastPiece : 0;
  frames_.push_back({encode_header(header, piece), piece, std::move(keep)});
  ++header.piece;
}

void WorkerCore::leave(Millis) {
  if (leaving_) return;
  leaving_ = true;
  if (online()) send(FrameType::drain, encode(Drain{Drain::Reason::leaving}));
}

}  // namespace tern::dist
