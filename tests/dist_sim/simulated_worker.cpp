#include "tests/dist_sim/simulated_worker.h"

#include "tests/dist_sim/frames.h"
#include "tests/dist_sim/simulated_server.h"
#include "tests/dist_sim/world.h"

namespace tern::dist::sim {

// ---- the process

void SimWorker::start() {
  ++process_;
  WorkerOptions options;
  options.hello.name = "worker on host " + std::to_string(host_);
  options.hello.device_class = "cpu";
  options.hello.instance = world_.draw().bits();
  options.silence = world_.plan().silence;
  core_ = std::make_unique<WorkerCore>(options);
  connection_ = 0;
  dialing_ = stopped_ = thread_busy_ = sending_ = seen_terms_ = careless_ = false;
  hung_ = false;
  leaving_since_.reset();
  back_off_ = 100;
  slow_ = 1;
  missed_.clear();
  stuck_.clear();
  residuals_ = {};
  dial();
  tick();
}

void SimWorker::kill() {
  if (!alive()) return;
  if (connection_ != 0) world_.network().kill(connection_, kClient);
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
  core_->connected(world_.clock().now());
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
  core_->received(bytes, world_.clock().now());
  flush();
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
  core_->disconnected(world_.clock().now());
  flush();
  if (alive()) dial();
}

void SimWorker::tick() {
  after(world_.plan().tick_ms, [this] {
    core_->tick(world_.clock().now());
    flush();
    if (alive()) tick();
  });
}

void SimWorker::flush() {
  std::vector<Outgoing> frames = core_->take_frames();
  const bool close = core_->take_close();
  for (const std::string& note : core_->take_notes()) world_.trace("host " + std::to_string(host_) + ": " + note);
  if (connection_ != 0 && !frames.empty()) world_.network().send(connection_, kClient, spoil(std::move(frames)));
  if (connection_ != 0 && close) world_.network().close(connection_, kClient);
  thread();
}

/// What faults make of the core's frames. None of them does more than a broken machine or a careless program would.
std::vector<Outgoing> SimWorker::spoil(std::vector<Outgoing> frames) {
  const bool damages = world_.plan().has(Fault::damage) && world_.faulty();
  if (more_seq_ == 0 && !damages) return frames;
  for (Outgoing& frame : frames) {
    FrameHeader header = header_of(frame);
    std::vector<std::byte> payload(frame.payload.begin(), frame.payload.end());
    header.seq += more_seq_;
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
  if (connection_ == 0 || !core_->online()) return;
  flush();
  if (!alive() || connection_ == 0) return;
  // The core numbers its frames itself: a heartbeat shows where it is, and goes nowhere.
  core_->ready(core_->terms()->model, core_->terms()->data, world_.clock().now());
  const std::vector<Outgoing> probe = core_->take_frames();
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
