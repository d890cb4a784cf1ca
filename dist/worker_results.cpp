#include <algorithm>
#include <utility>

#include "dist/byte_io.h"
#include "dist/worker_core.h"

/// A worker's side: what it computes, and how results are sent.
namespace tern::dist {

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
  Work work{.run_epoch = layout_.layout, .step = first.step, .slot = first.slot.slot, .range = {first.slot.first, first.slot.count},
            .epoch = first.message->epoch, .step_in_epoch = first.message->step_in_epoch, .steps = first.message->steps,
            .loss_scale = first.message->loss_scale, .whole = first.message->whole, .carried = first.slot.carried, .version = parameters_->version, .parameters = parameters_->bytes};
  computing_ = {work.step, work.slot};
  busy_ = true;
  queue_.pop_front();
  return work;
}

std::optional<std::pair<uint64_t, std::shared_ptr<const std::vector<std::byte>>>> WorkerCore::parameters() const {
  if (!parameters_ || !parameters_->whole) return std::nullopt;
  return std::pair{parameters_->version, parameters_->bytes};
}

void WorkerCore::set_parameters(uint64_t version, std::shared_ptr<std::vector<std::byte>> bytes) {
  parameters_ = Parameters{version, std::move(bytes), 0, true};
}

std::optional<SumTask> WorkerCore::next_sum() {
  if (!sum_whole_) return std::nullopt;
  sum_whole_ = false;
  return std::exchange(sum_, {});
}

void WorkerCore::take(const Work& work) {
  computing_ = answering_ = {work.step, work.slot};
  answer_.reset();
}

bool WorkerCore::wanted(const Work& work) const {
  return online() && work.run_epoch == layout_.layout && work.step >= floor_ && computing_ == std::pair{work.step, work.slot};
}

void WorkerCore::send_part(const Work& work, const ResultBytes& body, size_t from) {
  if (!sending_ && !wanted(work)) return;
  if (!sending_) begin_result(work, body.bytes.size());
  if (online()) send_down_to(body, from);
}

void WorkerCore::finish(const Work& work, const ResultBytes& body, double lane_seconds, Millis now) {
  // What was begun is ended, or the server would not know where the next one begins.
  const bool send_it = online() && body && (sending_ || wanted(work));
  if (!body && sending_) fail(Refusal::malformed, "a result that was begun is given up");
  computing_.reset();
  busy_ = false;
  asked_ = true;
  lanes_done_ += static_cast<uint64_t>(work.range.count);
  // A machine that slept in the middle must not look slow for long: its lease would be, too.
  if (body) lane_seconds_ = lane_seconds_ > 0 ? 0.75 * lane_seconds_ + 0.25 * std::min(lane_seconds, 4 * lane_seconds_) : lane_seconds;
  if (!send_it) {
    sending_.reset();
    if (online()) beat(now);
    return;
  }
  if (!sending_) begin_result(work, body.bytes.size());
  send_down_to(body, 0);
  const Digest digest = digest_of(body.bytes);
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
void WorkerCore::send_down_to(const ResultBytes& body, size_t from) {
  while (sending_->left > from) {
    const size_t size = std::min(piece_bytes(body.bytes.size()), sending_->left - from);
    sending_->left -= size;
    send_piece(body.bytes.subspan(sending_->left, size), false, body.keep);
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
