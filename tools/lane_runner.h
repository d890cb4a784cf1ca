#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "core/plan.h"
#include "dist/lane_tree.h"
#include "tools/lane_engine.h"
#include "tools/lane_pass.h"
#include "tools/lane_sum.h"

namespace tern {

/// Runs nodes of the canonical tree, one at a time, with a recorded plan for each number of rows: what a process does
/// that computes a part of a step's lanes.
class LaneRunner {
 public:
  /// `arena` may be shared with other plans that never run at the same time; null: one of its own. `gradient` f32 [P] is
  /// where gradients are left; undefined: a tensor of its own.
  LaneRunner(Context& context, LanePass& pass, StepSwitches switches, std::shared_ptr<Arena> arena = nullptr, Tensor gradient = {});

  /// Forward and backward of the node `lanes`, whose pictures are rows [first_row, first_row + rows) of `batch`, where
  /// the whole step has `pictures`; the loss is multiplied by `loss_scale` (f32 [1], or undefined: 1). Computes with the
  /// context's random key, which the caller sets to the run's seed and the batch's epoch.
  NodeReport run(const data::Batch& batch, int64_t first_row, int64_t rows, int64_t pictures, dist::LaneRange lanes,
                 const Tensor& loss_scale = {});

  /// f32 [P]: the gradient of the node that ran last.
  const Tensor& gradient() const { return gradient_; }
  std::vector<PlanStats> plan_stats() const { return plan_.stats(); }

 private:
  NodeReport run_folded(const data::Batch& batch, int64_t first_row, int64_t rows, int64_t pictures, dist::LaneRange lanes);
  NodeReport run_lanes(const data::Batch& batch, int64_t first_row, int64_t rows, int64_t pictures, dist::LaneRange lanes);
  void set_loss_scale(const Tensor& loss_scale);

  LanePass& pass_;
  bool fold_;
  Tensor gradient_;    // of the node
  Tensor lane_grads_;  // f32 [P]: of one lane, where they are computed one after another
  Tensor loss_scale_;  // f32 [1] that the plans read, or undefined
  std::optional<LaneSum> sum_;
  CompiledStep plan_;
};

}  // namespace tern
