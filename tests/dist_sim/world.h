#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/dist_sim/network.h"
#include "tests/dist_sim/toy.h"

/// One simulated training: a ServerCore and several WorkerCores on a virtual clock and network, with what can go wrong.
namespace tern::dist::sim {

class SimServer;
class SimShard;
class SimWorker;
class Rogue;

/// What may happen to a training; each seed draws some of them.
enum class Fault {
  reset,           ///< connections end at any byte
  vanish,          ///< one side loses its connection, the other is not told
  partition,       ///< both directions, or one
  kill_worker,     ///< and start it again
  stop_worker,     ///< SIGSTOP, later SIGCONT
  hang_thread,     ///< the computing thread stands still, heartbeats go on
  slow_worker,
  kill_server,
  join_leave,
  rogue,
  flip,            ///< bits on the stream
  duplicate,       ///< whole frames
  damage,          ///< a result's bytes are not those of its digest
  careless_worker, ///< sends results that nobody wants any more
  full_disk,
  kill_shard,      ///< and start it again, elsewhere
  cut_shard,       ///< from the server
  leave_shard,     ///< SIGTERM
};
inline constexpr int kFaults = 18;

/// What a seed draws.
struct Plan {
  uint64_t seed = 0;
  Toy toy;
  NetworkPlan network;
  int workers = 1, wait_for = 1;
  int shards = 0, wait_for_shards = 0;
  int64_t staleness = 0, checkpoint_every = 1;
  Millis lane_ms = 5, update_ms = 1, write_ms = 5, tick_ms = 50;
  Millis heartbeat = 1000, lease = 3000, silence = 10000, handshake = 5000;
  std::set<Fault> faults;
  Millis fault_every = 500;  ///< on average
  Millis faults_end = 0;

  bool has(Fault fault) const { return faults.contains(fault); }
};
Plan draw_plan(uint64_t seed);
std::string describe(const Plan& plan);

/// Of many runs.
struct Totals {
  uint64_t seeds = 0, steps = 0, faults = 0, incarnations = 0, lapsed = 0, speculated = 0, reassigned = 0, duplicates = 0, nacked = 0, dropped = 0, refused = 0, layouts = 0, sharded = 0;
  Millis time = 0;
};

class World {
 public:
  explicit World(const Plan& plan);
  ~World();
  /// Runs to the end. What went wrong; "" when nothing did.
  std::string run();
  void add_to(Totals& totals) const;

  // For what lives in the world.
  const Plan& plan() const { return plan_; }
  Clock& clock() { return clock_; }
  Draw& draw() { return draw_; }
  Network& network() { return network_; }
  SimServer& server() { return *server_; }
  std::vector<std::unique_ptr<SimWorker>>& workers() { return workers_; }
  /// The shard that listens at that address; null: none.
  SimShard* find_shard(const std::string& address);
  bool faulty() const { return clock_.now() < plan_.faults_end; }
  bool tracing() const { return tracing_; }
  void trace(const std::string& text) const;
  void fail(const std::string& text);
  /// A rogue sent a result of its own making for a step that was taken: an alarm is due.
  void check_refusal(const ServerEvent& event);
  void expect_alarm() { ++alarms_expected_; }
  /// The SimWorker that the server knows by that id; null: a rogue.
  SimWorker* find_worker(uint32_t id);

 private:
  void next_fault();
  void strike(Fault fault);
  void strike_worker(Fault fault);
  void strike_shard(Fault fault);
  void strike_connection(Fault fault);
  void end_faults();
  void watch();
  Millis deadline() const;
  bool ended() const;
  std::string verdict();

  const Plan plan_;
  const bool tracing_;
  Draw draw_;
  Clock clock_;
  Network network_;
  std::unique_ptr<SimServer> server_;
  std::vector<std::unique_ptr<SimShard>> shards_;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  std::vector<std::unique_ptr<Rogue>> rogues_;
  uint64_t alarms_expected_ = 0, struck_ = 0;
  std::string failure_;
};

/// Runs one seed. What went wrong, with the seed; "" when nothing did.
std::string run_seed(uint64_t seed, Totals& totals);

}  // namespace tern::dist::sim
