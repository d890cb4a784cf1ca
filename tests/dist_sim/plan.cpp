#include <algorithm>

#include "tests/dist_sim/world.h"

namespace tern::dist::sim {
namespace {

constexpr const char* kFaultNames[kFaults] = {"reset",       "vanish",      "partition", "kill_worker", "stop_worker",
                                              "hang_thread", "slow_worker", "kill_server", "join_leave", "rogue",
                                              "flip",        "duplicate",   "damage",    "careless_worker", "full_disk",
                                              "kill_shard",  "cut_shard",   "leave_shard"};

Toy draw_toy(Draw& draw) {
  Toy toy;
  toy.seed = draw.bits();
  const int64_t mode = draw.between(0, 9);
  toy.mode = mode < 7 ? Mode::bsp : mode == 7 ? Mode::asp : mode == 8 ? Mode::ssp : Mode::epoch;
  toy.lanes = static_cast<int>(draw.chance(0.1) ? draw.between(13, 40) : draw.between(1, 12));
  toy.parameters = static_cast<int>(draw.between(1, 5));
  toy.tasks = draw.magnitude(3, 40);
  toy.tasks_an_epoch = draw.between(1, toy.tasks);
  toy.steps = toy.mode == Mode::epoch ? static_cast<uint32_t>(draw.between(1, 4)) : 1;
  toy.ragged = static_cast<int>(draw.between(0, toy.lanes - 1));
  return toy;
}

}  // namespace

Plan draw_plan(uint64_t seed) {
  Draw draw(seed);
  Plan plan;
  plan.seed = seed;
  plan.toy = draw_toy(draw);
  plan.workers = static_cast<int>(draw.between(1, 5));
  plan.wait_for = draw.chance(0.8) ? 1 : static_cast<int>(draw.between(1, plan.workers));
  plan.staleness = draw.between(0, 3);
  plan.checkpoint_every = draw.magnitude(1, 8);
  plan.lane_ms = std::max<Millis>(1, draw.magnitude(1, 60) * 10 / std::max(10, plan.toy.lanes));
  plan.update_ms = draw.between(0, 20);
  plan.write_ms = draw.between(0, 100);
  plan.tick_ms = draw.between(50, 200);
  plan.network.latency_low = draw.between(0, 5);
  plan.network.latency_high = plan.network.latency_low + draw.magnitude(1, 60);
  plan.network.slices = draw.chance(0.5) ? 0.3 : 0;
  plan.network.after_close = draw.chance(0.2) ? 0.5 : 0;
  if (draw.chance(0.7)) {  // shorter times find the same with less waiting
    plan.heartbeat = 250;
    plan.lease = 800;
    plan.silence = 2500;
    plan.handshake = 1500;
  }
  const double likely = draw.chance(0.1) ? 0 : draw.chance(0.3) ? 0.15 : 0.5;  // calm, few kinds, many
  for (int i = 0; i < kFaults; ++i)
    if (draw.chance(likely)) plan.faults.insert(static_cast<Fault>(i));
  plan.fault_every = draw.magnitude(100, 2000);
  plan.faults_end = plan.faults.empty() ? 0 : draw.magnitude(1000, 40000);
  plan.toy.whole_every = plan.checkpoint_every;
  if (plan.toy.mode == Mode::bsp && draw.chance(0.3)) {
    plan.toy.parameters = static_cast<int>(draw.between(2, 9));
    plan.toy.top_k = static_cast<int>(draw.between(1, plan.toy.parameters / 2));
  }
  if (plan.toy.exact() && plan.toy.top_k == 0 && draw.chance(0.5)) {
    plan.shards = static_cast<int>(draw.between(1, 4));
    plan.wait_for_shards = draw.chance(0.7) ? plan.shards : static_cast<int>(draw.between(0, plan.shards));
    plan.toy.parameters = static_cast<int>(draw.between(1, 9));  // at times fewer than shards
  }
  return plan;
}

std::string describe(const Plan& plan) {
  const std::string wire = plan.toy.top_k > 0 ? ", the largest " + std::to_string(plan.toy.top_k) + " of " + std::to_string(plan.toy.parameters) + " entries" : "";
  std::string text = std::string(name_of(plan.toy.mode)) + wire + ", " + std::to_string(plan.toy.tasks) + " tasks of " +
                     std::to_string(plan.toy.lanes) + " lanes, " + std::to_string(plan.workers) + " workers, " + std::to_string(plan.shards) + " shards, lane " +
                     std::to_string(plan.lane_ms) + " ms, latency " + std::to_string(plan.network.latency_low) + " to " +
                     std::to_string(plan.network.latency_high) + " ms, lease " + std::to_string(plan.lease) +
                     " ms, faults until " + std::to_string(plan.faults_end) + " ms every " + std::to_string(plan.fault_every) + " ms:";
  for (const Fault fault : plan.faults) text += std::string(" ") + kFaultNames[static_cast<size_t>(fault)];
  return text;
}

}  // namespace tern::dist::sim
