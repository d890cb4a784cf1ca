#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/op.h"

namespace tern {

/// Hears of every op that apply() runs, in order. A plan's recording is one.
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
  virtual void record(const Event& event) = 0;
  /// The ops that follow belong to this phase of Context::clock().
  virtual void record_phase(std::string_view phase) = 0;
};

}  // namespace tern
