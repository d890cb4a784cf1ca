#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dist/worker_hub.h"
#include "tests/dist_sim/network.h"
#include "tests/dist_sim/toy.h"

namespace tern::dist::sim {

class World;

/// A process as tools/ps_worker.cpp: WorkerHub, a thread that computes, and connections that are made anew.
class SimWorker : public Endpoint {
 public:
  SimWorker(World& world, int host);
  ~SimWorker() override;

  void start();
  void kill();
  void leave();
  void stop();  ///< SIGSTOP
  void go_on();
  void hang();
  void recover();
  void set_slow(int factor) { slow_ = factor; }
  void set_careless() { careless_ = true; }

  bool alive() const { return core_ != nullptr; }
  bool stopped() const { return stopped_; }
  bool hung() const { return hung_; }
  /// Since when nothing has kept it from leaving, which it was asked to do.
  std::optional<Millis> leaving_since() const { return hung_ || stopped_ || connection_ == 0 ? std::nullopt : leaving_since_; }
  /// How many times the server said so since the thread hangs.
  int count_recovery() { return ++recoveries_; }
  bool idle() const { return !thread_busy_; }
  ConnectionId connection() const { return connection_; }
  int host() const { return host_; }
  /// The id that the server gave it on this connection, 0 without.
  uint32_t id() const { return core_ && core_->online() ? core_->terms()->worker : 0; }

  void connected(ConnectionId id) override;
  void received(ConnectionId id, Bytes bytes) override;
  void disconnected(ConnectionId id, const std::string& why) override;

 private:
  class LinkEnd;

  void after(Millis delay, std::function<void()> what);  // unless the process is another by then
  void on_thread(Millis delay, std::function<void()> what);  // likewise, and only while the thread does not hang
  void dial();
  void dial_shard(LinkId link);
  void follow_links();
  LinkEnd* find_link(LinkId link);
  void hear(LinkId link, ConnectionId id, const std::function<void()>& what);
  void tick();
  void flush();
  void thread();
  void set_up();
  void compute(const Work& work);
  void compute_part(const Work& work, int64_t part);
  void compute_and_send(const Work& work, Millis time);
  Body result_of(const Work& work);
  void finish(const Work& work, const Body& body);
  void send_unwanted(const Work& work, const std::vector<std::byte>& body);
  std::vector<Outgoing> spoil(std::vector<Outgoing> frames, uint64_t more);
  void exit(const std::string& why);

  World& world_;
  const int host_;
  std::unique_ptr<WorkerHub> core_;
  std::vector<std::unique_ptr<LinkEnd>> links_;
  uint64_t process_ = 0;
  ConnectionId connection_ = 0;
  bool dialing_ = false, stopped_ = false, careless_ = false, hung_ = false, thread_busy_ = false, sending_ = false, seen_terms_ = false;
  Millis back_off_ = 0, work_began_ = 0;
  std::optional<Millis> leaving_since_;
  int slow_ = 1, recoveries_ = 0;
  Residuals residuals_;
  uint64_t more_seq_ = 0;  // frames that went out besides the core's
  std::deque<std::function<void()>> missed_, stuck_;  // while stopped; while the thread hangs
};

}  // namespace tern::dist::sim
