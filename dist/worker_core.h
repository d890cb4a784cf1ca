#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dist/lane_tree.h"
#include "dist/messages.h"
#include "dist/transport.h"

/// A client's side of one connection without sockets, threads or clocks, as ServerCore is the server's: that of a worker with the
/// server, and, by what its HELLO says, with a shard, or of a shard with the server. dist/worker_hub.h and shard_core.h join them.
namespace tern::dist {

using Millis = int64_t;

struct WorkerOptions {
  Hello hello;
  Millis silence = 10000;  ///< the server is given up when it brings no frame for longer
};

/// A result's bytes, or of one that is still computed the place for them; or nothing, of one that was given up.
struct ResultBytes {
  ResultBytes(std::nullptr_t) {}
  template <class Vector>
  ResultBytes(std::shared_ptr<Vector> whole) : bytes(whole ? Bytes(*whole) : Bytes()), keep(std::move(whole)) {}
  ResultBytes(Bytes part, std::shared_ptr<const void> owner) : bytes(part), keep(std::move(owner)) {}
  explicit operator bool() const { return keep != nullptr; }
  Bytes bytes;
  std::shared_ptr<const void> keep;
};

/// Something to compute: lanes of a step, with these parameters.
struct Work {
  uint64_t run_epoch = 0, step = 0;  ///< run_epoch: or what takes its place (Shards)
  uint16_t slot = 0;
  LaneRange range;
  uint32_t epoch = 0, step_in_epoch = 0, steps = 1;
  float loss_scale = 1;
  bool whole = false, carried = false;  ///< as Assign's and SlotRange's
  uint64_t version = 0;
  std::shared_ptr<const std::vector<std::byte>> parameters;
};

/// A step whose results a shard is to add up.
struct SumTask {
  uint64_t step = 0, version = 0;
  uint16_t sum = 0;  ///< this shard's place in the layout
  std::vector<SlotRange> slots;
};

class WorkerCore {
 public:
  /// Throws Error when options.hello cannot be sent.
  explicit WorkerCore(WorkerOptions options);

  // Of the network: one connection at a time.
  void connected(Millis now);
  void received(Bytes bytes, Millis now);
  void disconnected(Millis now);
  void tick(Millis now);

  // Of the computing thread.
  /// What the server trains, once it has said so; after reconnecting to another run this changes.
  const std::optional<Welcome>& terms() const { return terms_; }
  uint64_t run_epoch() const { return run_epoch_; }
  uint64_t welcomes() const { return welcomes_; }
  /// Who takes gradients; without shards that is the server alone.
  const Shards& layout() const { return layout_; }
  /// Network and data are there.
  void ready(const Digest& model, const Digest& data, Millis now);
  /// They do not fit: tells the server, and closes.
  void refuse(Refusal why, const std::string& text);
  /// The next thing to compute, which stays the caller's until finish().
  std::optional<Work> next();
  /// The version of the parameters that is here whole, and its bytes.
  std::optional<std::pair<uint64_t, std::shared_ptr<const std::vector<std::byte>>>> parameters() const;
  /// The parameters, where they do not come over this connection.
  void set_parameters(uint64_t version, std::shared_ptr<std::vector<std::byte>> bytes);
  /// A shard's next step.
  std::optional<SumTask> next_sum();
  /// A result that this connection is to carry though it was not assigned on it.
  void take(const Work& work);
  /// What became of that result: acknowledged, or not wanted.
  bool acknowledged() const { return answer_ == FrameType::grad_ack; }
  bool turned_down() const { return answer_ == FrameType::nack; }
  /// Ends the connection, for another try.
  void hang_up() { close_ = close_ || online_; }
  /// Whether anybody still wants the work.
  bool wanted(const Work& work) const;
  /// Shows that the computing thread is alive within one long piece of work.
  void progressed() { ++lanes_done_; }
  /// The bytes of a result from `from` on are final and are sent, but for those that were. Those before it are still
  /// computed, into the same body, which finish() is then given.
  void send_part(const Work& work, const ResultBytes& body, size_t from);
  /// `body` is sent, or what is left of it. One of which nothing was sent is dropped when nobody wants it.
  void finish(const Work& work, const ResultBytes& body, double lane_seconds, Millis now);
  /// Finishes what it owes, and goes.
  void leave(Millis now);

  // What comes out.
  std::vector<Outgoing> take_frames();
  /// Whether take_frames() or take_close() would have something.
  bool has_output() const { return !frames_.empty() || (close_ && !close_taken_); }
  /// Whether the connection is to be closed now; said once.
  bool take_close() { return close_ && !std::exchange(close_taken_, true); }
  /// Texts for people: what the server refused, why it ended.
  std::vector<std::string> take_notes() { return std::exchange(notes_, {}); }
  /// The training is over, by DRAIN; or the server will never take this worker, by ERROR.
  std::optional<Drain::Reason> drained() const { return drained_; }
  const std::optional<ErrorMessage>& refused() const { return refused_; }
  bool left() const { return left_; }
  bool online() const { return online_ && welcomed_ && !close_; }
  uint64_t committed() const { return committed_; }  ///< steps that are taken, as far as it was told
  uint64_t lanes_done() const { return lanes_done_; }

 private:
  bool on_frame(const FrameHeader& header, Bytes payload, Millis now);
  bool on_welcome(const FrameHeader& header, Bytes payload, Millis now);
  bool on_shards(Bytes payload);
  bool on_sum_task(const FrameHeader& header, const Assign& assign);
  void note_answer(const FrameHeader& header);
  bool on_params(const FrameHeader& header, Bytes payload);
  bool passing(Refusal why) const;
  bool fail(Refusal why, const std::string& text);
  void send(FrameType type, std::vector<std::byte> payload = {}, uint64_t step = 0, uint16_t slot = 0);
  void beat(Millis now);
  void begin_result(const Work& work, size_t size);
  void send_piece(Bytes piece, bool last, std::shared_ptr<const void> keep);
  void send_down_to(const ResultBytes& body, size_t from);
  bool on_assign(const FrameHeader& header, Bytes payload);
  bool exact() const { return is_exact(terms_->mode); }
  void forget_before(uint64_t step);

  struct Assigned {
    std::shared_ptr<const Assign> message;
    uint64_t step = 0;
    SlotRange slot;
  };

  WorkerOptions options_;
  FrameDecoder decoder_;
  bool online_ = false, welcomed_ = false;
  uint64_t received_seq_ = 0, sent_seq_ = 0;
  Millis heard_ = 0, beat_sent_ = 0;
  std::optional<Welcome> terms_;
  uint64_t run_epoch_ = 0, welcomes_ = 0;
  Shards layout_;  // its number is the run_epoch where the server has told of none
  uint64_t parameters_here_ = 0;  // floats that come over this connection
  SumTask sum_;
  bool sum_whole_ = false;
  std::optional<std::pair<uint64_t, uint16_t>> answering_;  // step, slot of take()
  std::optional<FrameType> answer_;  // to that
  std::optional<std::pair<Digest, Digest>> digests_;  // model, data
  std::deque<Assigned> queue_;
  bool busy_ = false;   // the computing thread has work, be it void by now
  bool asked_ = false;  // for work, since the last heartbeat: it does not hang
  std::optional<std::pair<uint64_t, uint16_t>> computing_;  // step, slot; while the result is owed
  struct Sending {
    FrameHeader header;  // of the next piece
    size_t left = 0;     // bytes of the body that were not sent
  };
  std::optional<Sending> sending_;  // the result that is computed, once a part of it went out
  uint64_t floor_ = 0;  // steps before are void
  struct Parameters {
    uint64_t version = 0;
    std::shared_ptr<std::vector<std::byte>> bytes;
    uint16_t pieces = 0;
    bool whole = false;
  };
  std::optional<Parameters> parameters_;
  uint64_t lanes_done_ = 0, committed_ = 0;
  double lane_seconds_ = 0;
  bool leaving_ = false, left_ = false;
  bool close_ = false, close_taken_ = false;  // this connection is over; the network was told
  std::optional<Drain::Reason> drained_;
  std::optional<ErrorMessage> refused_;
  std::vector<Outgoing> frames_;
  std::vector<std::string> notes_;
};

}  // namespace tern::dist
