#include "tests/dist_sim/simulated_server.h"

#include <algorithm>

#include "tests/dist_sim/plants.h"
#include "tests/dist_sim/simulated_worker.h"
#include "tests/dist_sim/world.h"

namespace tern::dist::sim {

SimServer::SimServer(World& world) : world_(world) {
  checkpoint_ = checkpoint_before_ = {0, world.plan().toy.initial()};
}

// ---- the process

Welcome SimServer::terms() const {
  const Plan& plan = world_.plan();
  Welcome terms;
  terms.heartbeat_ms = static_cast<uint32_t>(plan.heartbeat);
  terms.lanes = static_cast<uint32_t>(plan.toy.lanes);
  terms.micro_batch = 1;
  terms.mode = plan.toy.mode;
  terms.wire = plan.toy.top_k > 0 ? Wire::topk : Wire::f32;
  terms.parameters = static_cast<uint64_t>(plan.toy.parameters);
  terms.top_k = static_cast<uint64_t>(plan.toy.top_k);
  terms.model.fill(std::byte{1});
  terms.data.fill(std::byte{2});
  terms.config = "{}";
  return terms;
}

void SimServer::start() {
  const Plan& plan = world_.plan();
  ++run_epoch_;
  ServerOptions options;
  options.run_epoch = run_epoch_;
  options.terms = terms();
  options.one_device_class = plan.toy.exact();
  options.shards = plan.shards > 0;
  if (plan.has(Fault::rogue)) options.device_class = "cpu";  // else the first decides, and that may be a rogue
  options.handshake = plan.handshake;
  options.lease = plan.lease;
  options.silence = plan.silence;
  options.max_workers = 64;
  core_ = std::make_unique<ServerCore>(std::move(options));
  updates_ = next_step_ = first_ = checkpoint_.updates;
  parameters_ = planted(Plant::checkpoint_not_kept) ? checkpoint_before_.parameters : checkpoint_.parameters;
  under_way_.clear();
  lapsed_.clear();
  results_.clear();
  started_ = busy_ = false;
  world_.trace("server " + std::to_string(run_epoch_) + " starts from step " + std::to_string(updates_));
  tick();
  train();
}

void SimServer::kill() {
  world_.trace("server " + std::to_string(run_epoch_) + " is killed");
  for (const ConnectionId id : world_.network().connections()) world_.network().kill(id, kServer);
  add_counters();
  core_.reset();
  finished_at_.reset();  // it may not have been kept
}

ServerCounters SimServer::counters() const {
  ServerCounters all = before_;
  if (!core_) return all;
  const ServerCounters& more = core_->counters();
  for (size_t i = 0; i < all.refused.size(); ++i) all.refused[i] += more.refused[i];
  all.lapsed += more.lapsed;
  all.reassigned += more.reassigned;
  all.speculated += more.speculated;
  all.duplicates += more.duplicates;
  all.nacked += more.nacked;
  all.alarms += more.alarms;
  all.dropped += more.dropped;
  return all;
}

void SimServer::add_counters() { before_ = counters(); }

void SimServer::after(Millis delay, std::function<void()> what) {
  world_.clock().after(delay, [this, incarnation = run_epoch_, what = std::move(what)] {
    if (core_ && incarnation == run_epoch_) what();
  });
}

void SimServer::tick() {
  after(world_.plan().tick_ms, [this] {
    core_->tick(world_.clock().now());
    flush();
    tick();
  });
}

// ---- connections

void SimServer::connected(ConnectionId id) {
  core_->connected(id, "host", world_.clock().now());
  flush();
}

void SimServer::received(ConnectionId id, Bytes bytes) {
  core_->received(id, bytes, world_.clock().now());
  flush();
}

void SimServer::disconnected(ConnectionId id, const std::string& why) {
  core_->disconnected(id, why, world_.clock().now());
  flush();
}

void SimServer::flush() {
  for (const ServerAction& action : core_->take_actions()) {
    world_.network().send(action.connection, kServer, action.frames);
    if (action.close) world_.network().close(action.connection, kServer);
  }
  for (TaskResult& result : core_->take_results()) results_.push_back(std::move(result));
  for (const ServerEvent& event : core_->take_events()) hear(event);
  train();
}

void SimServer::hear(const ServerEvent& event) {
  if (world_.tracing()) world_.trace(std::string(name_of(event.kind)) + ": " + event.text);
  if (event.kind == ServerEvent::Kind::lapsed) lapsed_.insert(event.worker);
  if (event.kind == ServerEvent::Kind::refused) world_.check_refusal(event);
  if (event.kind == ServerEvent::Kind::sharded) ++layouts_;
  if (event.kind != ServerEvent::Kind::recovered) return;
  // What it sent before it hung may come late, but not again and again.
  SimWorker* worker = world_.find_worker(event.worker);
  if (worker && worker->hung() && worker->count_recovery() > 2)
    world_.fail("the worker on host " + std::to_string(worker->host()) + " counts as recovered again and again while its thread hangs");
}

// ---- the training, as PsEngine

void SimServer::train() {
  if (busy_ || finished_at_) return;
  const Toy& toy = world_.plan().toy;
  if (!started_) {
    if (updates_ < toy.tasks && core_->ready_workers() < world_.plan().wait_for) return;
    if (updates_ == 0 && core_->ready_shards() < world_.plan().wait_for_shards) return;
    started_ = true;
    core_->publish(static_cast<uint64_t>(updates_), bytes_of(parameters_));
  }
  if (updates_ == toy.tasks) return finish();
  bool begun = false;
  while (may_begin()) {
    core_->begin(toy.task(next_step_), world_.clock().now());
    under_way_.insert(next_step_++);
    begun = true;
  }
  if (!results_.empty()) {
    busy_ = true;
    after(world_.draw().between(0, world_.plan().update_ms), [this] {
      const TaskResult result = std::move(results_.front());
      results_.pop_front();
      apply(result);
    });
  }
  if (begun) flush();
}

/// As PsEngine::may_begin.
bool SimServer::may_begin() const {
  const Plan& plan = world_.plan();
  if (next_step_ >= plan.toy.tasks) return false;
  if (under_way_.empty()) return true;
  if (plan.toy.exact()) return false;
  const int64_t oldest_due = updates_ - updates_ % plan.checkpoint_every + plan.checkpoint_every;
  if (next_step_ >= oldest_due) return false;
  if (plan.toy.mode == Mode::ssp && !planted(Plant::staleness_ignored) && next_step_ - *under_way_.begin() > plan.staleness) return false;
  return static_cast<int>(under_way_.size()) < core_->ready_workers();
}

Floats SimServer::sum(const TaskResult& result) const {
  if (result.gradient) return *result.gradient;
  const Toy& toy = world_.plan().toy;
  std::vector<Floats> values;
  std::vector<LaneRange> ranges;
  for (const SlotResult& slot : result.slots) {
    values.push_back(toy.read(static_cast<int64_t>(result.task.step), *slot.body));
    ranges.push_back(slot.range);
  }
  if (planted(Plant::arrival_order)) {
    Floats total(static_cast<size_t>(toy.parameters));
    for (const Floats& value : values)
      for (size_t i = 0; i < total.size(); ++i) total[i] += value[i];
    return total;
  }
  return toy.sum(static_cast<int64_t>(result.task.step), ranges, values);
}

void SimServer::apply(const TaskResult& result) {
  Line line{.run_epoch = run_epoch_, .step = static_cast<int64_t>(result.task.step), .slots = {}, .gradient = {}, .parameters = {}};
  for (const SlotResult& slot : result.slots) line.slots.push_back({slot.range, slot.worker, slot.digest, slot.dropped && !planted(Plant::drop_untold)});
  under_way_.erase(line.step);
  Floats gradient;
  try {
    gradient = sum(result);
  } catch (const std::exception&) {  // lanes are missing: the checker shall say so
    gradient.resize(parameters_.size());
  }
  const auto before = bytes_of(parameters_);
  world_.plan().toy.update(parameters_, gradient);
  ++updates_;
  core_->publish(static_cast<uint64_t>(updates_), planted(Plant::wrong_parameters) ? before : bytes_of(parameters_));
  line.gradient = digest_of(gradient);
  line.parameters = digest_of(parameters_);
  core_->committed(result.task.step, line.parameters, world_.clock().now());
  if (world_.tracing()) world_.trace("step " + std::to_string(line.step) + " is taken, " + hex(line.parameters).substr(0, 8));
  ledger_.push_back(std::move(line));
  if (updates_ % world_.plan().checkpoint_every == 0 || updates_ == world_.plan().toy.tasks) return save();
  busy_ = false;
  flush();
}

void SimServer::save() {
  after(world_.draw().between(0, world_.plan().write_ms), [this] {
    if (!full_disk_) {
      checkpoint_before_ = std::move(checkpoint_);
      checkpoint_ = {updates_, parameters_};
    }
    busy_ = false;
    flush();
  });
}

void SimServer::finish() {
  finished_at_ = world_.clock().now();
  world_.trace("training is complete");
  core_->drain(Drain::Reason::complete, world_.clock().now());
  flush();
}

}  // namespace tern::dist::sim
