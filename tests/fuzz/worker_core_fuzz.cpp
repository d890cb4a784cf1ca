// WorkerCore with a server that sends anything: bytes, frames with right checksums of the input's types and fields, some
// of them as a server would, mixed with time, lost connections and a computing thread that does what it is given. Nothing
// is thrown, memory is bounded, and what is computed has whole parameters and lanes that are there.
//   A program of operations: a byte says which, the next ones its arguments.
#include <cstdlib>

#include "dist/worker_core.h"
#include "tests/dist_sim/frames.h"
#include "tests/fuzz/input.h"

using namespace tern::dist;

namespace {

constexpr uint64_t kRunEpoch = 3, kParameters = 4;

void require(bool holds) {
  if (!holds) std::abort();
}

class Run {
 public:
  explicit Run(fuzz::Input input) : in_(input), core_(options()) {}

  void run() {
    while (!in_.empty()) {
      operation();
      check();
    }
  }

 private:
  static WorkerOptions options() {
    WorkerOptions options;
    options.hello.name = "fuzz";
    return options;
  }

  void send(FrameHeader header, std::vector<std::byte> payload) {
    header.run_epoch = run_epoch_;
    header.seq = seq_++;
    const Outgoing frame = sim::outgoing(header, std::move(payload));
    std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
    core_.received(bytes, now_);
  }

  void operation() {
    switch (in_.byte() % 19) {
      case 0: core_.received(in_.bytes(in_.byte()), now_); break;
      case 1: welcome(); break;
      case 2: assign(); break;
      case 3: parameters(); break;
      case 4: send({.type = FrameType::heartbeat}, {}); break;
      case 5: any_frame(); break;
      case 6: send({.type = FrameType::rebase, .step = in_.byte()}, {}); break;
      case 7: send({.type = FrameType::commit, .step = in_.byte()}, encode(Commit{})); break;
      case 8: seq_ += in_.byte() % 2 ? 1 : -1; break;
      case 9: connect(); break;
      case 10: ++connection_; core_.disconnected(now_); break;
      case 11: core_.tick(now_ += in_.byte() * 4); break;
      case 12: core_.tick(now_ += in_.byte() * 100); break;
      case 13: core_.ready({}, {}, now_); break;
      case 14: next(); break;
      case 15: finish(); break;
      case 16: core_.progressed(); break;
      case 18: part(); break;
      case 17: in_.byte() % 8 ? core_.tick(now_ += 50) : core_.leave(now_); break;
    }
  }

  void connect() {
    seq_ = 0;
    ++connection_;
    core_.disconnected(now_);
    core_.connected(now_);
  }
  void welcome() {
    Welcome terms;
    const uint8_t choice = in_.byte();
    terms.mode = static_cast<Mode>(choice % kModes);
    terms.lanes = choice & 4 ? 0xffffffff : 6;
    terms.parameters = choice & 8 ? uint64_t{in_.byte()} << 56 : kParameters;
    terms.worker = choice;
    terms.config = choice & 16 ? "a" : "b";
    if (choice & 32) ++run_epoch_;
    if (choice & 64) connect();
    if (terms.mode == Mode::bsp && (choice & 4) == 0 && (choice & 8) == 0 && in_.byte() % 2) {
      terms.wire = Wire::topk;
      terms.top_k = 1;
    }
    send({.type = FrameType::welcome}, encode(terms));
    if (choice & 128) core_.ready({}, {}, now_);
  }
  void assign() {
    Assign assign;
    assign.version = in_.byte() % 8;
    assign.steps = 1 + in_.byte() % 2;
    const uint8_t choice = in_.byte();
    const int slots = 1 + choice % 4;
    assign.whole = (choice & 48) == 48;
    const int base = in_.byte() % 16;
    for (int i = 0; i < slots; ++i)
      assign.slots.push_back({static_cast<uint16_t>(base + i), static_cast<uint16_t>(in_.byte() % 8), static_cast<uint16_t>(choice & 64 ? 1 : 1 + in_.byte() % 3), (choice & 128) != 0});
    send({.type = FrameType::assign, .step = in_.byte() % 8u}, encode(assign));
  }
  void parameters() {
    const uint8_t choice = in_.byte();
    const size_t size = choice & 8 ? in_.byte() : kParameters * sizeof(float);
    FrameHeader header{.type = FrameType::params, .step = choice % 8u};
    const size_t first = choice & 16 ? size / 2 : size;
    header.flags = first == size ? kLastPiece : 0;
    send(header, std::vector<std::byte>(first));
    if (first == size) return;
    header.piece = 1;
    header.flags = kLastPiece;
    send(header, std::vector<std::byte>(size - first));
  }
  void any_frame() {
    FrameHeader header;
    header.type = static_cast<FrameType>(1 + in_.byte() % kFrameTypes);
    header.flags = in_.byte();
    header.step = in_.byte();
    header.slot = in_.byte();
    header.piece = in_.byte();
    const Bytes payload = in_.bytes(std::min<size_t>(in_.byte(), max_payload(header.type)));
    send(header, {payload.begin(), payload.end()});
  }
  void next() {
    const std::optional<Work> work = core_.next();
    if (!work) return;
    require(!work_ && core_.online() && core_.terms().has_value());
    require(work->parameters && work->parameters->size() == core_.terms()->parameters * sizeof(float));
    require(work->range.count >= 1 && work->range.end() <= static_cast<int64_t>(core_.terms()->lanes));
    require(core_.wanted(*work));
    const bool topk = core_.terms()->wire == Wire::topk;
    require(topk ? work->range.count == 1 : !work->whole && !work->carried);
    work_ = work;
  }
  /// A part of the result, from its end on.
  void part() {
    if (!work_) return;
    const bool wanted = core_.wanted(*work_);
    const size_t from = std::min<size_t>(in_.byte() % 9, begun_ ? begun_->from : 8);
    core_.send_part(*work_, body_, from);
    if (!wanted && !(begun_ && begun_->connection == connection_ && core_.online())) return require(drain_frames() == 0);
    const size_t before = begun_ && begun_->connection == connection_ ? begun_->from : 8;
    const bool first = !begun_ || begun_->connection != connection_;
    begun_ = Begun{connection_, from};
    require(drain_frames() == (first ? 1 : 0) + (from < before ? 1 : 0));
  }
  void finish() {
    if (!work_) return;
    const bool begun = begun_ && begun_->connection == connection_ && core_.online();
    const bool computed = in_.byte() % 4 != 0;
    const bool wanted = core_.wanted(*work_);
    drain_frames();
    core_.finish(*work_, computed ? body_ : nullptr, 0.01, now_);
    work_.reset();
    begun_.reset();
    require((drain_frames() > 0) == ((wanted || begun) && computed));
  }
  /// How many were GRAD.
  int drain_frames() {
    int results = 0;
    for (const Outgoing& frame : core_.take_frames()) {
      const FrameHeader header = sim::header_of(frame);
      require(header.length == frame.payload.size());
      if (header.type == FrameType::grad) ++results;
    }
    return results;
  }

  void check() {
    require(drain_frames() == 0);  // results come of part() and finish() alone
    core_.take_close();
    core_.take_notes();
    if (core_.online()) require(core_.terms().has_value());
  }

  fuzz::Input in_;
  WorkerCore core_;
  std::optional<Work> work_;
  struct Begun {
    uint64_t connection = 0;
    size_t from = 0;
  };
  std::optional<Begun> begun_;  // a result of which a part was sent
  uint64_t connection_ = 0;
  const std::shared_ptr<std::vector<std::byte>> body_ = std::make_shared<std::vector<std::byte>>(8);
  uint64_t seq_ = 0, run_epoch_ = kRunEpoch;
  Millis now_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Run(fuzz::Input(data, size)).run();
  return 0;
}
