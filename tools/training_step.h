#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/parameter_store.h"
#include "core/plan.h"
#include "nn/network.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "tools/config.h"
#include "tools/data_loader.h"
#include "tools/lane_sum.h"

namespace tern {

struct StepSwitches {
  bool fold = true;          ///< lanes of a step in one batch; false: one after another
  bool plan = true;          ///< record and replay
  bool reuse_memory = true;  ///< the plan's memory planner
};

/// What one step did.
struct StepOutcome {
  double loss_sum = 0;     ///< over the step's pictures, label smoothing included
  int64_t correct = 0;
  int64_t pictures = 0;
  double grad_norm = 0;    ///< before clipping
  double lr = 0;           ///< of the first group
  bool finite = true;      ///< false: nothing was updated
};

/// The model, the optimizer and one training step over lanes (D5): forward and backward lane by lane or folded, the
/// gradients of lanes summed in the canonical tree, then norm, clip, optimizers, running statistics, weight average.
class TrainingStep {
 public:
  TrainingStep(Context& context, const Config& config, data::PictureShape pictures, int64_t classes,
               int64_t steps_per_epoch, StepSwitches switches = {});

  StepOutcome run(const data::Batch& batch);

  /// Optimizer steps taken or skipped so far: where the schedules stand.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  /// Of the first group in the last step.
  double learning_rate() const { return *groups_[0].lr.data<double>(); }

  nn::Network& network() { return *network_; }
  ParameterStore& store() { return *store_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }
  /// What optimizers and the weight average carry, as flat tensors: "optimizer.0.exp_avg", "ema".
  std::vector<StateTensor> state() const;
  /// Name of the first parameter that is not finite, or "".
  std::string bad_parameter() const;
  /// Names the first tensor that is not finite after a step that was not: a parameter, the loss, or a gradient.
  std::string first_bad_tensor() const;
  /// Exchanges weights and their average, for an evaluation of the average; a second call changes back.
  void swap_average();
  bool has_average() const { return average_.has_value(); }
  /// One a recorded plan.
  std::vector<PlanStats> plan_stats() const;

 private:
  struct Group {
    std::unique_ptr<Optimizer> optimizer;
    std::unique_ptr<LrSchedule> schedule;
    int64_t frozen_from = -1;  ///< step from which it no longer updates; -1: never
    Tensor lr;                 ///< f64 [1]
  };
  void make_groups(const Config& config, int64_t steps_per_epoch);
  std::vector<Tensor> forward_backward(std::span<const Tensor> in);
  std::vector<Tensor> update(std::span<const Tensor> in);
  std::vector<Tensor> run_lanes(const data::Batch& batch, StepOutcome& outcome);
  std::vector<Tensor> run_chunk(const data::Batch& batch, int64_t first, int64_t rows, StepOutcome& outcome);
  void set_rates();

  Context& context_;
  Config config_;
  StepSwitches switches_;
  data::PictureShape pictures_;
  std::unique_ptr<nn::Network> network_;
  std::vector<Tensor> trained_;  // parameters in the store's order
  std::unique_ptr<ParameterStore> store_;
  Tensor pass_grads_;            // f32 [P]: what one forward_backward leaves
  std::vector<Group> groups_;
  std::optional<WeightAverage> average_;
  std::shared_ptr<Arena> arena_;
  std::optional<CompiledStep> pass_, update_;
  std::optional<LaneSum> lane_sum_;
  bool loss_finite_ = true;
  int64_t steps_ = 0;
};

}  // namespace tern
