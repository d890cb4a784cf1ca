#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "dist/server_core.h"
#include "tests/dist_sim/network.h"
#include "tests/dist_sim/toy.h"

namespace tern::dist::sim {

class World;

/// A process as tools/ps_engine.cpp: ServerCore and the training around it, a ledger and a checkpoint that outlive it.
class SimServer : public Endpoint {
 public:
  explicit SimServer(World& world);

  void start();
  void kill();
  bool alive() const { return core_ != nullptr; }
  bool listens() const { return alive(); }
  bool finished() const { return finished_at_.has_value(); }
  std::optional<Millis> finished_at() const { return finished_at_; }
  void set_full_disk(bool full) { full_disk_ = full; }

  void connected(ConnectionId id) override;
  void received(ConnectionId id, Bytes bytes) override;
  void disconnected(ConnectionId id, const std::string& why) override;

  uint64_t run_epoch() const { return run_epoch_; }
  const Ledger& ledger() const { return ledger_; }
  const ServerCore* core() const { return core_.get(); }
  /// Of all incarnations.
  ServerCounters counters() const;
  Welcome terms() const;
  /// Whether this incarnation took away what that worker had.
  bool lapsed(uint32_t worker) const { return lapsed_.contains(worker); }
  /// Steps under way.
  const std::set<int64_t>& under_way() const { return under_way_; }
  int64_t next_step() const { return next_step_; }
  uint64_t layouts() const { return layouts_; }

 private:
  struct Checkpoint {
    int64_t updates = 0;
    Floats parameters;
  };

  void after(Millis delay, std::function<void()> what);  // unless the process is another by then
  void tick();
  void flush();
  void hear(const ServerEvent& event);
  void train();
  bool may_begin() const;
  void apply(const TaskResult& result);
  Floats sum(const TaskResult& result) const;
  void save();
  void finish();
  void add_counters();

  World& world_;
  std::unique_ptr<ServerCore> core_;
  uint64_t run_epoch_ = 0;
  // On the disk.
  Checkpoint checkpoint_, checkpoint_before_;
  Ledger ledger_;
  bool full_disk_ = false;
  // Of the process.
  Floats parameters_;
  int64_t updates_ = 0, next_step_ = 0, first_ = 0;
  std::set<int64_t> under_way_;
  std::set<uint32_t> lapsed_;
  std::deque<TaskResult> results_;
  bool started_ = false, busy_ = false;
  std::optional<Millis> finished_at_;
  ServerCounters before_;
  uint64_t layouts_ = 0;
};

}  // namespace tern::dist::sim
