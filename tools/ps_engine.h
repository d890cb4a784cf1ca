#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dist/server.h"
#include "tools/lane_body.h"
#include "tools/lane_engine.h"
#include "tools/lane_pass.h"
#include "tools/ledger.h"
#include "tools/progress.h"

namespace tern {

struct PsOptions {
  dist::Address listen;
  dist::Security security;
  int workers = 1;   ///< training starts when so many are ready
  int shards = 0;    ///< and so many shards; 0: takes none
  dist::Mode mode = dist::Mode::bsp;
  int staleness = 0;  ///< ssp: steps that the fastest may be ahead of the slowest
  dist::Wire wire = dist::Wire::f32;
  double top_k = 0;   ///< topk: the part of a gradient's entries that a lane sends
  dist::TransportLimits limits;
};

/// How a server stands, for --metrics.
struct PsStatus {
  uint64_t run_epoch = 0;
  dist::Mode mode = dist::Mode::bsp;
  int64_t step = 0, steps = 0;  ///< taken, and in all
  int micro_batch = 0;
  std::vector<dist::WorkerStatus> workers, shards;
  dist::ServerCounters counters;
  uint64_t wire_bytes_in = 0, wire_bytes_out = 0;    ///< with TLS
  uint64_t frame_bytes_in = 0, frame_bytes_out = 0;  ///< what TLS carries
  uint64_t handshakes_failed = 0;                    ///< timed out or over a limit, too
};

/// Steps whose lanes workers compute: ps_server's half of a training, under the same Trainer as a training alone.
class PsEngine final : public LaneEngine {
 public:
  PsEngine(PsOptions options, const Config& config, Progress& progress);
  ~PsEngine() override;

  void open(LanePass& pass, const data::RunData& data, const std::filesystem::path& folder) override;
  void folder_opened() override;
  std::optional<LaneResults> run(LanePass& pass, const data::Batch& batch, const Tensor& loss_scale, const Tensor& gradient) override;
  void updated(LanePass& pass) override;
  void stop_when(std::function<bool()> stop) override { stop_ = std::move(stop); }
  bool settled() const override { return under_way_.empty(); }
  /// In modes that do not keep steps in order, those that were taken may lie behind some that are under way.
  bool resumable() const override { return !held_back_ && (dist::is_exact(options_.mode) || under_way_.empty()); }
  /// Sends the workers home; what it moved is told.
  void close(dist::Drain::Reason reason);

  /// From any thread; nothing before open().
  std::optional<PsStatus> status() const;

 private:
  void publish(LanePass& pass, uint64_t version);
  int64_t pictures_of(int64_t step_in_epoch) const;
  void begin(const data::Batch& batch, int64_t step, const Tensor& loss_scale);
  bool may_begin(int64_t epoch, int64_t first) const;
  bool is_whole(int64_t step) const;
  BodyLayout layout_of(const dist::Task& task) const { return task.whole ? layout_.whole() : layout_; }
  bool wait_for_workers(int workers, int shards);
  std::optional<dist::TaskResult> wait_for_result();
  void note_device_class();
  LaneResults take(const dist::TaskResult& result, const Tensor& gradient);
  void set_gradient(std::span<const float> sum, const Tensor& gradient);
  void tell_events();

  PsOptions options_;
  Config config_;
  Progress& progress_;
  BodyLayout layout_;
  int64_t pictures_an_epoch_ = 0;
  int64_t steps_an_epoch_ = 0;
  std::filesystem::path folder_;
  ServerState state_;
  std::optional<Ledger> ledger_;
  bool behind_ = false;  // the ledger's lines wait for a disk with room
  bool held_back_ = false;  // lanes have not sent all of their gradients
  std::optional<dist::TaskResult> taken_;  // whose update is being made
  dist::Digest gradient_digest_ = {};
  std::atomic<uint64_t> version_ = 0;
  std::atomic<const dist::Server*> listening_ = nullptr;
  std::function<bool()> stop_ = [] { return false; };
  bool started_ = false;
  int64_t next_step_ = -1;  // of the run: the first that was not begun
  std::set<int64_t> under_way_;
  std::mutex events_mutex_;
  std::vector<dist::ServerEvent> events_;
  std::unique_ptr<dist::Server> server_;  // last: its thread uses the others
};

/// Identity of a network's parameters: names, shapes and places in the flat arena.
dist::Digest model_digest(const ParameterStore& store);
/// Identity of training pictures and labels. Reads all of them.
dist::Digest data_digest(const data::Dataset& data);

}  // namespace tern
