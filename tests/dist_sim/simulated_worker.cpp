#include "tests/dist_sim/simulated_worker.h"

#include <algorithm>

#include "tests/dist_sim/frames.h"
#include "tests/dist_sim/simulated_server.h"
#include "tests/dist_sim/simulated_shard.h"
#include "tests/dist_sim/world.h"

namespace tern::dist::sim {

/// A link with a shard: its connections, one after the other.
class SimWorker::LinkEnd : public Endpoint {
 public:
  LinkEnd(SimWorker& worker, const ShardLink& link) : link(link), worker_(worker) {}
  ~LinkEnd() override {
    if (connection != 0) worker_.world_.network().kill(connection, kClient);
  }
  void connected(ConnectionId id) override {
    connection = id;
    back_off = 100;
    worker_.core_->connected(link.id, worker_.world_.clock().now());
    worker_.flush();
  }
  void received(ConnectionId id, Bytes bytes) override {
    worker_.hear(link.id, id, [this, copy = std::vector<std::byte>(bytes.begin(), bytes.end())] { worker_.core_->received(link.id, copy, worker_.world_.clock().now()); });
  }
  void disconnected(ConnectionId id, const std::string&) override {
    worker_.hear(link.id, id, [this] {
      connection = 0;
      worker_.core_->disconnected(link.id, worker_.world_.clock().now());
      worker_.dial_shard(link.id);
    });
  }

  const ShardLink link;
  ConnectionId connection = 0;
  Millis back_off = 0;

 private:
  SimWorker& worker_;
};

SimWorker::SimWorker(World& world, int host) : world_(world), host_(host) {}
SimWorker::~SimWorker() = default;

// ---- the process

void SimWorker::start() {
  ++process_;
  WorkerOptions options;
  options.hello.name = "worker on host " + std::to_string(host_);
  options.hello.device_class = "cpu";
  options.hello.instance = world_.draw().bits();
  options.silence = world_.plan().silence;
  core_ = std::make_unique<WorkerHub>(options);
  connection_ = 0;
  dialing_ = stopped_ = thread_busy_ = sending_ = seen_terms_ = careless_ = false;
  hung_ = false;
  leaving_since_.reset();
  back_off_ = 100;
  slow_ = 1;
  missed_.clear();
  stuck_.clear();
  residuals_ = {};
  links_.clear();
  dial();
  tick();
}

void SimWorker::kill() {
  if (!alive()) return;
  if (connection_ != 0) world_.network().kill(connection_, kClient);
  links_.clear();
  core_.reset();
  connection_ = 0;
  stopped_ = false;
  hung_ = false;
  ++process_;
}

void SimWorker::exit(const std::string& why) {
  world_.trace("host " + std::to_string(host_) + " exits: " + why);
  kill();
}

void SimWorker::leave() {
  leaving_since_ = world_.clock().now();
  core_->leave(world_.clock().now());
  if (connection_ == 0) return exit("left, offline");
  flush();
}

void SimWorker::stop() { stopped_ = true; }

void SimWorker::go_on() {
  stopped_ = false;
  if (leaving_since_) leaving_since_ = world_.clock().now();
  const uint64_t process = process_;
  while (process == process_ && !stopped_ && !missed_.empty()) {
    const auto what = std::move(missed_.front());
    missed_.pop_front();
    what();
  }
}

void SimWorker::hang() {
  hung_ = true;
  recoveries_ = 0;
}

void SimWorker::recover() {
  hung_ = false;
  if (leaving_since_) leaving_since_ = world_.clock().now();
  const uint64_t process = process_;
  while (process == process_ && !hung_ && !stuck_.empty()) {
    const auto what = std::move(stuck_.front());
    stuck_.pop_front();
    what();
  }
}

void SimWorker::after(Millis delay, std::function<void()> what) {
  world_.clock().after(delay, [this, process = process_, what = std::move(what)] {
    if (process != process_) return;
    if (stopped_) return missed_.push_back(what);
    what();
  });
}

void SimWorker::on_thread(Millis delay, std::function<void()> what) {
  after(delay, [this, what = std::move(what)] {
    if (hung_) return stuck_.push_back(what);
    what();
  });
}

// ---- connections

void SimWorker::dial() {
  if (dialing_) return;
  dialing_ = true;
  after(back_off_ / 2 + world_.draw().between(0, back_off_), [this] {
    dialing_ = false;
    if (connection_ != 0) return;
    back_off_ = std::min<Millis>(5000, back_off_ * 2);
    if (!world_.server().listens() || !world_.network().reachable(host_)) return dial();
    world_.network().connect(*this, world_.server(), host_);
  });
}

void SimWorker::connected(ConnectionId id) {
  connection_ = id;
  if (leaving_since_) leaving_since_ = world_.clock().now();
  back_off_ = 100;
  more_seq_ = 0;
  core_->connected(kServerLink, world_.clock().now());
  flush();
}

void SimWorker::received(ConnectionId id, Bytes bytes) {
  if (stopped_) {
    missed_.push_back([this, id, copy = std::vector<std::byte>(bytes.begin(), bytes.end())] {
      if (id == connection_) received(id, copy);
    });
    return;
  }
  if (id != connection_) return;
  core_->received(kServerLink, bytes, world_.clock().now());
  flush();
}

// ---- shards

SimWorker::LinkEnd* SimWorker::find_link(LinkId link) {
  const auto found = std::ranges::find(links_, link, [](const auto& end) { return end->link.id; });
  return found == links_.end() ? nullptr : found->get();
}

/// What happened on a link's connection, when the process is not stopped and both are still there.
void SimWorker::hear(LinkId link, ConnectionId id, const std::function<void()>& what) {
  if (stopped_) return missed_.push_back([this, link, id, what] { hear(link, id, what); });
  LinkEnd* end = find_link(link);
  if (!end || end->connection != id || !core_) return;
  what();
  flush();
}

void SimWorker::dial_shard(LinkId link) {
  LinkEnd* end = find_link(link);
  if (!end) return;
  after(end->back_off / 2 + world_.draw().between(0, end->back_off), [this, link] {
    LinkEnd* there = find_link(link);
    if (!there || there->connection != 0) return;
    there->back_off = std::min<Millis>(5000, std::max<Millis>(100, there->back_off * 2));
    SimShard* shard = world_.find_shard(there->link.address);
    if (!shard || !world_.network().reachable(host_)) return dial_shard(link);
    world_.network().connect(*there, shard->workers_side(), host_);
  });
}

void SimWorker::follow_links() {
  const std::vector<ShardLink> wanted = core_->links();
  std::erase_if(links_, [&](const auto& end) { return std::ranges::find(wanted, end->link.id, &ShardLink::id) == wanted.end(); });
  for (const ShardLink& link : wanted)
    if (!find_link(link.id)) {
      links_.push_back(std::make_unique<LinkEnd>(*this, link));
      dial_shard(link.id);
    }
}

void SimWorker::disconnected(ConnectionId id, const std::string& why) {
  if (stopped_) {
    missed_.push_back([this, id, why] { disconnected(id, why); });
    return;
  }
  if (id != connection_ || !core_) return;
  world_.trace("host " + std::to_string(host_) + " is disconnected: " + why);
  connection_ = 0;
  sending_ = false;
  core_->disconnected(kServerLink, world_.clock().now());
  flush();
  if (alive()) dial();
}

void SimWorker::tick() {
  after(world_.plan().tick_ms, [this] {
    core_->tick(kServerLink, world_.clock().now());
    for (const ShardLink& link : core_->links()) core_->tick(link.id, world_.clock().now());
    flush();
    if (alive()) tick();
  });
}

void SimWorker::flush() {
  std::vector<Outgoing> frames = core_->take_frames(kServerLink);
  const bool close = core_->take_close(kServerLink);
  for (const std::string& note : core_->take_notes()) world_.trace("host " + std::to_string(host_) + ": " + note);
  if (connection_ != 0 && !frames.empty()) world_.network().send(connection_, kClient, spoil(std::move(frames), more_seq_));
  if (connection_ != 0 && close) world_.network().close(connection_, kClient);
  follow_links();
  for (const auto& end : links_) {
    std::vector<Outgoing> more = core_->take_frames(end->link.id);
    const bool ends = core_->take_close(end->link.id);
    if (end->connection != 0 && !more.empty()) world_.network().send(end->connection, kClient, spoil(std::move(more), 0));
    if (end->connection != 0 && ends) world_.network().close(end->connection, kClient);
  }
  thread();
}

/// What faults make of the core's frames. None of them does more than a broken machine or a careless program would.
std::vector<Outgoing> SimWorker::spoil(std::vector<Outgoing> frames, uint64_t more) {
  const bool damages = world_.plan().has(Fault::damage) && world_.faulty();
  if (more == 0 && !damages) return frames;
  for (Outgoing& frame : frames) {
    FrameHeader header = header_of(frame);
    std::vector<std::byte> payload(frame.payload.begin(), frame.payload.end());
    header.seq += more;
    if (damages && header.type == FrameType::grad && header.piece > 0 && header.flags == 0 && world_.draw().chance(0.05)) {
      payload[world_.draw().bits() % payload.size()] ^= std::byte{4};
      world_.trace("host " + std::to_string(host_) + " damages its result for step " + std::to_string(header.step));
    }
    frame = outgoing(header, std::move(payload));
  }
  return frames;
}

// ---- the computing thread, as WorkerProgram::run

void SimWorker::thread() {
  if (thread_busy_ || hung_) return;
  if (core_->drained()) return exit("drained");
  if (core_->refused()) {
    const ErrorMessage refusal = *core_->refused();
    // A bit that turned in HELLO may say anything; a careless worker may break the rules.
    const bool deserved = refusal.code == Refusal::stopping || careless_ || (world_.plan().has(Fault::flip) && refusal.code == Refusal::bad_version);
    if (!deserved) world_.fail("the worker on host " + std::to_string(host_) + " is turned away (" + std::string(name_of(refusal.code)) + "): " + refusal.text);
    return exit("refused");
  }
  if (core_->left()) return exit("left");
  if (core_->terms() && !seen_terms_) return set_up();
  if (const std::optional<Work> work = core_->next()) compute(*work);
}

void SimWorker::set_up() {
  seen_terms_ = thread_busy_ = true;
  const Welcome terms = *core_->terms();
  on_thread(world_.draw().between(1, 300), [this, terms] {
    thread_busy_ = false;
    core_->ready(terms.model, terms.data, world_.clock().now());
    flush();
  });
}

void SimWorker::compute(const Work& work) {
  thread_busy_ = true;
  work_began_ = world_.clock().now();
  compute_part(work, 0);
}

/// A part is the whole work, or in mode epoch one lane of one step.
void SimWorker::compute_part(const Work& work, int64_t part) {
  const Toy& toy = world_.plan().toy;
  const bool lane_by_lane = toy.mode == Mode::epoch;
  const int64_t parts = lane_by_lane ? int64_t{work.steps} * work.range.count : 1;
  const int64_t lanes = lane_by_lane ? 1 : work.range.count;
  const Millis time = lanes * world_.plan().lane_ms * slow_ + world_.draw().between(0, world_.plan().lane_ms);
  if (!lane_by_lane && toy.top_k == 0 && world_.draw().chance(0.5)) return compute_and_send(work, time);
  on_thread(time, [this, work, part, parts, lane_by_lane] {
    if (lane_by_lane) {
      core_->progressed();
      if (!core_->wanted(work)) return finish(work, nullptr);
    }
    if (part + 1 < parts) return compute_part(work, part + 1);
    finish(work, result_of(work));
  });
}

/// Sends what it has while it computes.
void SimWorker::compute_and_send(const Work& work, Millis time) {
  const Body body = result_of(work);
  const auto part = [this, work, body](size_t from) {
    sending_ = sending_ || core_->wanted(work);
    core_->send_part(work, body, from);
    flush();
  };
  const auto middle = static_cast<size_t>(world_.draw().between(0, static_cast<int64_t>(body->size())));
  const uint64_t process = process_;
  on_thread(time / 2, [this, work, body, part, middle, time, process] {
    part(middle);
    if (process != process_) return;
    on_thread(time / 4, [this, work, body, part, middle, time, process] {
      part(middle / 2);
      if (process != process_) return;
      on_thread(time / 4, [this, work, body] { finish(work, body); });
    });
  });
}

Body SimWorker::result_of(const Work& work) {
  const Toy& toy = world_.plan().toy;
  if (toy.top_k == 0) return toy.body(static_cast<int64_t>(work.step), work.range, floats_of(*work.parameters));
  const LaneStep at{work.run_epoch, work.step, work.range.first, work.carried, work.loss_scale};
  return toy.sparse_body(at, floats_of(*work.parameters), residuals_);
}

void SimWorker::finish(const Work& work, const Body& body) {
  const uint64_t process = process_;
  if (careless_ && body && !sending_ && !core_->wanted(work)) send_unwanted(work, *body);
  if (process != process_) return;
  thread_busy_ = sending_ = false;
  const double seconds = static_cast<double>(world_.clock().now() - work_began_) / 1000;
  core_->finish(work, body, seconds / work.range.count, world_.clock().now());
  flush();
}

void SimWorker::send_unwanted(const Work& work, const std::vector<std::byte>& body) {
  constexpr uint64_t kLayout = uint64_t{1} << 40;
  if (connection_ == 0 || !core_->online() || work.run_epoch >= kLayout) return;  // a result for shards has another form
  flush();
  if (!alive() || connection_ == 0) return;
  // The core numbers its frames itself: a heartbeat shows where it is, and goes nowhere.
  core_->ready(core_->terms()->model, core_->terms()->data, world_.clock().now());
  const std::vector<Outgoing> probe = core_->take_frames(kServerLink);
  if (probe.size() != 1) return;
  FrameHeader header = header_of(probe[0]);
  header.run_epoch = work.run_epoch;
  header.step = work.step;
  header.slot = work.slot;
  header.seq += more_seq_;
  more_seq_ += kResultFrames - 1;  // for one
  world_.trace("host " + std::to_string(host_) + " sends a result for step " + std::to_string(work.step) + " of incarnation " + std::to_string(work.run_epoch) + " that nobody wants");
  world_.network().send(connection_, kClient, result_frames(header, body, dist::digest_of(body)));
}

}  // namespace tern::dist::sim
