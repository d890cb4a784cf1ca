#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/op.h"

namespace tern {

/// Hears of every op that apply() runs, in order. A plan's recording is one, a profile another.
class Recorder {
 public:
  struct Event {
    std::shared_ptr<const Op> op;
    std::span<const Tensor> inputs;
    std::span<const Tensor> outputs;
    std::span<const std::optional<Alias>> aliases;  ///< one an output
    size_t workspace;
  };
  virtual ~Recorder() = default;
  /// True: it only looks on. Plans may then be recorded and replayed, and values read; it hears of replayed ops through
  /// run(). On a GPU plans replay op by op while it is set, not as a graph.
  virtual bool observes() const { return false; }
  /// Runs the op: where an observer takes its time.
  virtual void run(const Op& op, Launch& launch) { op.run(launch); }
  virtual void record(const Event& event) = 0;
  /// The ops that follow belong to this phase of Context::clock().
  virtual void record_phase(std::string_view phase) = 0;
};

}  // namespace tern
