#include "tests/dist_sim/world.h"

#include <cstdio>
#include <cstdlib>

#include "tests/dist_sim/rogue.h"
#include "tests/dist_sim/simulated_server.h"
#include "tests/dist_sim/simulated_shard.h"
#include "tests/dist_sim/simulated_worker.h"

namespace tern::dist::sim {
namespace {

constexpr size_t kMostUnderWay = 4 << 20;    // bytes that nobody took from one connection
constexpr uint64_t kMostEvents = 4'000'000;  // more is a loop that runs without rest
constexpr int kRogueHosts = 1000, kShardHosts = 500;

}  // namespace

World::World(const Plan& plan)
    : plan_(plan), tracing_(std::getenv("TERN_SIM_TRACE") != nullptr), draw_(plan.seed + 1), network_(clock_, draw_, plan.network) {
  trace(describe(plan));
  server_ = std::make_unique<SimServer>(*this);
  for (int k = 0; k < plan.shards; ++k) shards_.push_back(std::make_unique<SimShard>(*this, kShardHosts + k));
  for (int host = 0; host < plan.workers; ++host) workers_.push_back(std::make_unique<SimWorker>(*this, host));
}

World::~World() = default;

void World::trace(const std::string& text) const {
  if (tracing_) std::printf("%8lld ms  %s\n", static_cast<long long>(clock_.now()), text.c_str());
}

void World::fail(const std::string& text) {
  if (failure_.empty()) failure_ = text;
}

SimShard* World::find_shard(const std::string& address) {
  for (const auto& shard : shards_)
    if (shard->alive() && shard->address() == address) return shard.get();
  return nullptr;
}

SimWorker* World::find_worker(uint32_t id) {
  for (const auto& worker : workers_)
    if (worker->alive() && worker->id() == id) return worker.get();
  return nullptr;
}

/// Whoever keeps the rules is not told that it breaks them.
void World::check_refusal(const ServerEvent& event) {
  if (plan_.has(Fault::flip) || plan_.has(Fault::damage) || plan_.has(Fault::careless_worker)) return;
  if (event.text.find("(worker on host ") == std::string::npos && event.text.find("(shard:") == std::string::npos) return;  // a rogue
  for (const Refusal why : {Refusal::malformed, Refusal::oversized, Refusal::illegal_type, Refusal::bad_checksum, Refusal::conflict})
    if (event.text.find(": " + std::string(name_of(why)) + ": ") != std::string::npos) return fail("a worker that did nothing wrong is refused: " + event.text);
}

// ---- the run

std::string World::run() {
  server_->start();
  for (const auto& worker : workers_)
    clock_.after(draw_.chance(0.7) ? draw_.between(0, 50) : draw_.between(0, 5000), [&] {
      if (!worker->alive()) worker->start();
    });
  for (const auto& shard : shards_)
    clock_.after(draw_.chance(0.7) ? draw_.between(0, 50) : draw_.between(0, 5000), [&] {
      if (!shard->alive() && !server_->finished()) shard->start();
    });
  watch();
  next_fault();
  clock_.after(plan_.faults_end, [this] { end_faults(); });
  try {
    while (failure_.empty() && !ended() && clock_.happened() < kMostEvents)
      if (!clock_.step()) fail("nothing happens any more");
  } catch (const std::exception& error) {
    fail(std::string("an exception escaped: ") + error.what());
  }
  if (clock_.happened() >= kMostEvents) fail("too much happens: something runs without rest");
  const std::string fault = verdict();
  if (!fault.empty()) trace("FAILED: " + fault);
  return fault;
}

std::string World::verdict() {
  if (!failure_.empty()) return failure_;
  if (server_->counters().alarms > alarms_expected_) return "results for the same slot differ, and no rogue made them";
  if (plan_.faults.empty() && server_->counters().dropped > 0) return "what lanes held back was dropped, and nothing had happened";
  return check_ledger(plan_.toy, server_->ledger(), calm_run(plan_.toy), plan_.staleness);
}

bool World::ended() const {
  if (!server_->finished() || faulty()) return false;
  for (const auto& worker : workers_)
    if (worker->connection() != 0 || (worker->alive() && !worker->hung())) return false;
  for (const auto& shard : shards_)
    if (shard->alive()) return false;
  return server_->core()->connections() == 0;
}

/// When all must be over: times for what hangs to be noticed, and for every step to be computed by the slowest.
Millis World::deadline() const {
  const Millis task = plan_.update_ms + plan_.write_ms + 8 * plan_.network.latency_high + 4 * plan_.tick_ms + 1000 +
                      16 * plan_.toy.lanes * static_cast<Millis>(plan_.toy.steps) * plan_.lane_ms;
  return plan_.faults_end + 10000 + 12 * plan_.silence + 5 * std::max(10 * plan_.lease, plan_.silence) + plan_.toy.tasks * task;
}

/// What must hold at any time; and an init system that starts workers again.
void World::watch() {
  clock_.after(200, [this] {
    if (clock_.now() > deadline())
      return fail(server_->finished() ? "training is complete, but somebody does not go" : "training does not go on, " + std::to_string(server_->ledger().size()) + " steps taken");
    if (network_.most_under_way() > kMostUnderWay) return fail("bytes pile up on a connection");
    if (const ServerCore* core = server_->core()) {
      if (core->connections() > static_cast<int>(plan_.workers * 8 + rogues_.size()) + 64) return fail("connections pile up on the server");
      if (core->pending_bytes() > static_cast<size_t>(core->connections()) * (size_t{64} << 10)) return fail("bytes pile up on the server");
    }
    const Millis work = 40 * plan_.toy.lanes * static_cast<Millis>(plan_.toy.steps) * plan_.lane_ms;
    for (const auto& worker : workers_)
      if (const auto since = worker->leaving_since(); since && clock_.now() - *since > work + 3 * plan_.silence + 2000)
        return fail("the worker on host " + std::to_string(worker->host()) + " wants to leave and is not let go");
    for (const auto& worker : workers_)
      if (!worker->alive() && !server_->finished() && draw_.chance(faulty() ? 0.1 : 1)) worker->start();
    for (const auto& shard : shards_)
      if (!shard->alive() && !server_->finished() && draw_.chance(faulty() ? 0.1 : 1)) shard->start();
    watch();
  });
}

void World::end_faults() {
  trace("faults end");
  network_.set_plan(plan_.network);
  if (!server_->alive()) server_->start();
  server_->set_full_disk(false);
  for (const auto& rogue : rogues_)
    if (rogue->connection() != 0) network_.kill(rogue->connection(), kClient);
  for (const auto& shard : shards_) {
    network_.heal(shard->host());
    if (!shard->alive() && !server_->finished()) shard->start();
  }
  int healthy = 0;
  for (const auto& worker : workers_) {
    network_.heal(worker->host());
    if (worker->stopped()) worker->go_on();
    if (!worker->alive()) worker->start();
    worker->set_slow(1);
    // One that hangs for ever must not stop the others.
    if (worker->hung() && (healthy < plan_.wait_for || draw_.chance(0.5)) && worker->alive()) worker->recover();
    if (!worker->hung()) ++healthy;
  }
}

void World::add_to(Totals& totals) const {
  const ServerCounters counters = server_->counters();
  ++totals.seeds;
  totals.steps += server_->ledger().size();
  totals.faults += struck_;
  totals.incarnations += server_->run_epoch();
  totals.lapsed += counters.lapsed;
  totals.speculated += counters.speculated;
  totals.reassigned += counters.reassigned;
  totals.duplicates += counters.duplicates;
  totals.nacked += counters.nacked;
  totals.dropped += counters.dropped;
  totals.layouts += server_->layouts();
  for (const auto& shard : shards_) totals.sharded += shard->steps();
  for (const uint64_t count : counters.refused) totals.refused += count;
  totals.time += clock_.now();
}

std::string run_seed(uint64_t seed, Totals& totals) {
  World world(draw_plan(seed));
  const std::string fault = world.run();
  world.add_to(totals);
  return fault.empty() ? "" : "seed " + std::to_string(seed) + ": " + fault + " (TERN_SIM_SEED=" + std::to_string(seed) + " TERN_SIM_RUNS=1 TERN_SIM_TRACE=1 replays it)";
}

// ---- faults

void World::next_fault() {
  if (plan_.faults.empty()) return;
  clock_.after(draw_.between(1, 2 * plan_.fault_every), [this] {
    if (!faulty()) return;
    strike(draw_.pick(std::vector(plan_.faults.begin(), plan_.faults.end())));
    next_fault();
  });
}

void World::strike(Fault fault) {
  ++struck_;
  const Millis time = draw_.magnitude(20, 3 * plan_.silence);
  NetworkPlan damaged = network_.plan();
  switch (fault) {
    case Fault::reset:
    case Fault::vanish: return strike_connection(fault);
    case Fault::flip: damaged.flips = 0.02; break;
    case Fault::duplicate: damaged.duplicates = 0.2; break;
    case Fault::kill_server:
      if (server_->alive()) {
        server_->kill();
        clock_.after(draw_.magnitude(10, 3000), [this] {
          if (!server_->alive()) server_->start();
        });
      }
      return;
    case Fault::rogue:
      if (server_->alive()) rogues_.push_back(std::make_unique<Rogue>(*this, kRogueHosts));
      return;
    case Fault::full_disk:
      server_->set_full_disk(true);
      return clock_.after(time, [this] { server_->set_full_disk(false); });
    case Fault::damage: return;  // in SimWorker::spoil
    case Fault::kill_shard:
    case Fault::cut_shard:
    case Fault::leave_shard: return strike_shard(fault);
    default: return strike_worker(fault);
  }
  network_.set_plan(damaged);
  clock_.after(time, [this] { network_.set_plan(plan_.network); });
}

void World::strike_connection(Fault fault) {
  const std::vector<ConnectionId> all = network_.connections();
  if (all.empty()) return;
  const ConnectionId id = draw_.pick(all);
  const Side side = draw_.chance(0.5) ? kClient : kServer;
  trace("connection " + std::to_string(id) + (fault == Fault::reset ? " will be reset" : " vanishes on one side"));
  if (fault == Fault::reset) return network_.reset_after(id, side, draw_.magnitude(1, 2000) - 1);
  for (const auto& worker : workers_)  // of workers only, on their side: a host that lost its power and is back
    if (worker->connection() == id && !worker->stopped()) {
      network_.vanish(id, kClient);
      worker->disconnected(id, "vanished");
      return;
    }
}

void World::strike_shard(Fault fault) {
  if (shards_.empty()) return;
  SimShard& shard = *draw_.pick(shards_);
  if (!shard.alive()) return shard.start();
  trace(shard.address() + (fault == Fault::kill_shard ? " is killed" : fault == Fault::cut_shard ? " is cut off" : " leaves"));
  if (fault == Fault::kill_shard) return shard.kill();
  if (fault == Fault::leave_shard) return shard.leave();
  network_.block(shard.host(), draw_.chance(0.5) ? kClient : kServer);
  clock_.after(draw_.magnitude(100, 3 * plan_.silence), [this, host = shard.host()] { network_.heal(host); });
}

void World::strike_worker(Fault fault) {
  SimWorker& worker = *workers_[static_cast<size_t>(draw_.between(0, plan_.workers - 1))];
  const Millis time = draw_.magnitude(100, 3 * plan_.silence);
  if (!worker.alive()) return worker.start();
  constexpr const char* kWhat[] = {"", "", "is cut off", "is killed", "is stopped", "hangs", "is slow", "", "leaves"};
  trace("host " + std::to_string(worker.host()) + " " + (fault == Fault::careless_worker ? "is careless" : kWhat[static_cast<size_t>(fault)]) + " (" + std::to_string(time) + " ms)");
  switch (fault) {
    case Fault::partition: {
      const int64_t which = draw_.between(0, 2);
      if (which != 1) network_.block(worker.host(), kClient);
      if (which != 0) network_.block(worker.host(), kServer);
      return clock_.after(time, [this, host = worker.host()] { network_.heal(host); });
    }
    case Fault::kill_worker: return worker.kill();
    case Fault::stop_worker:
      if (worker.stopped()) return;
      worker.stop();
      return clock_.after(time, [&worker] {
        if (worker.alive() && worker.stopped()) worker.go_on();
      });
    case Fault::hang_thread:
      if (worker.hung() || worker.stopped()) return;
      worker.hang();
      if (draw_.chance(0.3)) return;  // until it is killed or the faults end
      return clock_.after(time, [&worker] {
        if (worker.alive() && worker.hung() && !worker.stopped()) worker.recover();
      });
    case Fault::slow_worker: return worker.set_slow(static_cast<int>(draw_.magnitude(1, 30)));
    case Fault::careless_worker: return worker.set_careless();
    case Fault::join_leave:
      if (!worker.stopped() && !worker.hung()) worker.leave();
      return;
    default: return;
  }
}

}  // namespace tern::dist::sim
