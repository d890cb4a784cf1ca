// WorkerHub with a server and shards that send anything: frames with right checksums, most of them as they should be, mixed
// with time, lost connections and a computing thread that does what it is given. Nothing is thrown, what is computed has
// whole parameters of one version, and with shards the server gets a result's rest only after all of them acknowledged.
//   A program of operations: a byte says which, the next ones its arguments.
#include <cstdlib>
#include <map>
#include <set>

#include "dist/worker_hub.h"
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
  explicit Run(fuzz::Input input) : in_(input), hub_(options()) { connect(kServerLink); }

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

  void operation() {
    const uint8_t choice = in_.byte();
    const std::vector<ShardLink> links = hub_.links();
    const LinkId shard = links.empty() ? 99 : links[choice / 16 % links.size()].id;
    switch (choice % 16) {
      case 0: welcome(); break;
      case 1: layout(); break;
      case 2: assign(); break;
      case 3: parameters(kServerLink, kRunEpoch, kParameters); break;
      case 4: greet(shard); break;
      case 5: parameters(shard, layout_.layout, count_of(shard)); break;
      case 6: acknowledge(shard); break;
      case 7: any_frame(in_.byte() % 2 ? kServerLink : shard); break;
      case 8: hub_.received(in_.byte() % 2 ? kServerLink : shard, in_.bytes(in_.byte()), now_); break;
      case 9: hub_.disconnected(in_.byte() % 8 ? shard : kServerLink, now_); break;
      case 10: hub_.tick(in_.byte() % 2 ? kServerLink : shard, now_ += in_.byte() * 20); break;
      case 11: send(kServerLink, kRunEpoch, {.type = FrameType::commit, .step = in_.byte() % 8u}, encode(Commit{})); break;
      case 12: hub_.ready({}, {}, now_); break;
      case 13: next(); break;
      case 14: if (work_) hub_.send_part(*work_, body_, in_.byte() % 24); break;
      case 15: finish(); break;
    }
  }

  void send(LinkId link, uint64_t run_epoch, FrameHeader header, std::vector<std::byte> payload) {
    if (payload.size() > max_payload(header.type)) payload.clear();
    header.run_epoch = run_epoch;
    header.seq = seq_[link]++;
    const Outgoing frame = sim::outgoing(header, std::move(payload));
    std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
    hub_.received(link, bytes, now_);
  }
  void connect(LinkId link) {
    seq_[link] = 0;
    hub_.disconnected(link, now_);
    hub_.connected(link, now_);
  }
  static Welcome terms(uint64_t parameters) {
    Welcome terms;
    terms.lanes = 6;
    terms.parameters = parameters;
    return terms;
  }
  void welcome() {
    connect(kServerLink);
    send(kServerLink, kRunEpoch, {.type = FrameType::welcome}, encode(terms(kParameters)));
    hub_.ready({}, {}, now_);
  }
  void layout() {
    const uint8_t choice = in_.byte();
    if (choice % 8 == 7) {  // one that is over
      send(kServerLink, kRunEpoch, {.type = FrameType::shards}, encode(Shards{kRunEpoch | layouts_ / 2 << 40, {}}));
      return;
    }
    layout_ = {kRunEpoch | ++layouts_ << 40, {}};  // another for each, as dist/server_shards.cpp has it
    if (choice & 16) layout_.shards = {{1, "a:1", 0, 3}, {2, choice & 32 ? "b:1" : "a:1", 3, 1}};
    if (choice & 64) layout_.shards = {{1, "a:1", 0, kParameters}};
    acknowledged_.clear();
    send(kServerLink, kRunEpoch, {.type = FrameType::shards}, encode(layout_));
  }
  void assign() {
    const uint8_t choice = in_.byte();
    const auto count = static_cast<uint16_t>(1 + choice / 16 % 3);
    send(kServerLink, kRunEpoch, {.type = FrameType::assign, .step = choice % 4u}, encode(Assign{.version = choice / 4 % 4u, .slots = {{0, 0, count}, {1, count, 1}}}));
  }
  void parameters(LinkId link, uint64_t run_epoch, uint64_t count) {
    const uint8_t choice = in_.byte();
    send(link, run_epoch, {.type = FrameType::params, .flags = kLastPiece, .step = choice % 4u}, std::vector<std::byte>((choice & 128 ? choice : count) * sizeof(float), static_cast<std::byte>(choice % 4)));
  }
  uint64_t count_of(LinkId link) const {
    const std::vector<ShardLink> links = hub_.links();
    for (size_t i = 0; i < links.size() && i < layout_.shards.size(); ++i)
      if (links[i].id == link) return layout_.shards[i].count;
    return 1;
  }
  void greet(LinkId link) {
    connect(link);
    send(link, in_.byte() % 8 ? layout_.layout : kRunEpoch, {.type = FrameType::welcome}, encode(terms(count_of(link))));
  }
  void acknowledge(LinkId link) {
    if (!work_ && !finished_) return;
    const Work& work = work_ ? *work_ : *finished_;
    const bool yes = in_.byte() % 8;
    if (yes) acknowledged_.insert(link);
    send(link, layout_.layout, {.type = yes ? FrameType::grad_ack : FrameType::nack, .step = work.step, .slot = work.slot}, yes ? std::vector<std::byte>() : encode(Nack{}));
  }
  void any_frame(LinkId link) {
    const FrameHeader header{.type = static_cast<FrameType>(1 + in_.byte() % kFrameTypes), .flags = in_.byte(), .step = in_.byte() % 4u, .slot = in_.byte(), .piece = in_.byte()};
    const Bytes payload = in_.bytes(in_.byte() % 16);
    if (header.type == FrameType::grad_ack || header.type == FrameType::shards) return;  // would not be known here
    send(link, link == kServerLink ? kRunEpoch : layout_.layout, header, {payload.begin(), payload.end()});
  }

  void next() {
    const std::optional<Work> work = hub_.next();
    if (!work) return;
    require(!work_ && hub_.online());
    require(work->parameters && work->parameters->size() == kParameters * sizeof(float));
    require(work->range.end() <= 6);
    // Each part of a version has that version's bytes.
    for (const std::byte b : *work->parameters) require(b == work->parameters->front());
    work_ = work;
    finished_.reset();
    acknowledged_.clear();
    body_ = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(work->range.count) * 4 + kParameters * sizeof(float));
  }
  void finish() {
    if (!work_) return;
    hub_.finish(*work_, in_.byte() % 8 ? body_ : nullptr, 0.01, now_);
    finished_ = work_;
    work_.reset();
  }

  void check() {
    for (const Outgoing& frame : hub_.take_frames(kServerLink)) {
      const FrameHeader header = sim::header_of(frame);
      if (header.type != FrameType::grad || header.run_epoch != layout_.layout) continue;
      for (const ShardLink& link : hub_.links()) require(acknowledged_.contains(link.id));
    }
    for (const ShardLink& link : hub_.links()) {
      hub_.take_frames(link.id);
      hub_.take_close(link.id);
    }
    hub_.take_close(kServerLink);
    hub_.take_notes();
  }

  fuzz::Input in_;
  WorkerHub hub_;
  std::map<LinkId, uint64_t> seq_;
  Shards layout_{kRunEpoch, {}};
  uint64_t layouts_ = 0;
  std::set<LinkId> acknowledged_;  // links that told so of what is computed
  std::optional<Work> work_, finished_;
  std::shared_ptr<std::vector<std::byte>> body_;
  Millis now_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Run(fuzz::Input(data, size)).run();
  return 0;
}
