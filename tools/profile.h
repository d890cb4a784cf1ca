#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/context.h"
#include "core/recorder.h"
#include "tools/gpu_monitor.h"

namespace tern {

/// What a training does, moment by moment: ops, phases, loader threads, evaluations and checkpoints as a trace that
/// Perfetto and chrome://tracing open, and a table of where the time of the profiled steps went.
///
/// Some steps after a warm-up are looked at; what is told outside of them is dropped, but for evaluations and checkpoints.
/// On a GPU the host waits after every op, so that an op's time is its own, starting it included, and the steps take
/// longer than otherwise; plans replay op by op, not as a graph. Results do not change.
/// Ref: "Trace Event Format" (Chromium project).
class Profile final : public Recorder {
 public:
  using Clock = std::chrono::steady_clock;
  enum class When { in_steps /* that are looked at */, always };

  /// Made by the thread that trains.
  explicit Profile(int steps);

  /// A stretch of the calling thread's time, from its making to its end. `profile` null: nothing.
  class Span {
   public:
    Span(Profile* profile, std::string_view name, std::string_view category, When when = When::in_steps)
        : profile_(profile), when_(when) {
      if (profile) begin(name, category);
    }
    ~Span() {
      if (profile_) end();
    }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    void begin(std::string_view name, std::string_view category);
    void end();
    Profile* profile_;
    When when_;
    std::string name_, category_;
    Clock::time_point begin_{};
  };

  /// A training step; decides whether it is one of those that are looked at.
  class Step {
   public:
    Step(Profile* profile, Context& context, int64_t pictures);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Profile* profile_;
    Clock::time_point begin_{};
  };

  /// The calling thread's name in the trace.
  void name_thread(const std::string& name);
  /// Takes a GPU's samples; for GpuMonitor.
  std::function<void(const GpuMonitor::Usage&)> gpu_counter();

  /// The Chrome trace as JSON.
  std::string trace() const;
  /// Where the time of the profiled steps went, a line an op; a table for people, or CSV: phase, op, calls, ms_per_step,
  /// share, gflop_per_s, gb_per_s.
  std::string table() const;
  std::string csv() const;
  /// trace.json and summary.csv in `folder`, which is made. Throws Error.
  void write(const std::filesystem::path& folder) const;

  bool observes() const override { return true; }
  void run(const Op& op, Launch& launch) override;
  void record(const Event&) override {}
  void record_phase(std::string_view phase) override;

 private:
  struct Cost {
    int64_t calls = 0;
    Clock::duration time{};
    double flops = 0, bytes = 0;
  };
  struct Row;
  void add_span(std::string_view name, std::string_view category, Clock::time_point begin, Clock::time_point end, const std::string& args = {});
  void add_counter(std::string_view name, const std::string& values);
  void add_memory();
  void begin_step(Context& context, int64_t pictures);
  void end_step(Clock::time_point begin);
  void close_phase();
  double micros(Clock::time_point time) const { return std::chrono::duration<double, std::micro>(time - started_).count(); }
  int thread_number();  // with mutex_ held
  std::vector<Row> rows() const;

  static constexpr int kWarmUp = 3;  // a plan is recorded, its arena touched, caches filled
  const int steps_wanted_;
  const Clock::time_point started_ = Clock::now();
  mutable std::mutex mutex_;
  std::vector<std::string> events_;  // of the trace, each a JSON object
  std::map<std::thread::id, int> threads_;
  std::map<int, std::string> thread_names_;
  std::map<std::pair<std::string, std::string>, Cost> costs_;  // phase and op
  Clock::duration step_time_{}, wait_time_{};
  int64_t steps_begun_ = 0, steps_seen_ = 0, pictures_ = 0;
  bool looking_ = false;  // guarded by mutex_: from the end of the warm-up to that of the last step that is looked at
  Context* context_ = nullptr;  // of the step that is looked at, while it runs
  std::string device_;
  std::string phase_;
  Clock::time_point phase_begin_{};
};

}  // namespace tern
