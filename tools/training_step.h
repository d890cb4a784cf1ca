#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/parameter_store.h"
#include "core/plan.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "tools/config.h"
#include "tools/lane_engine.h"
#include "tools/lane_pass.h"
#include "tools/lane_runner.h"

namespace tern {

/// What one step did.
struct StepOutcome {
  int64_t epoch = 0, step = 0;  ///< step in the epoch, both from 0
  double loss_sum = 0;     ///< over the step's pictures, label smoothing included
  int64_t correct = 0;
  int64_t pictures = 0;
  double grad_norm = 0;    ///< before clipping
  double lr = 0;           ///< of the first group
  bool finite = true;      ///< false: nothing was updated
  double loss_scale = 1;   ///< that the step ran with
  /// Not finite, but only the loss scale was too large: it was lowered and training goes on.
  bool rescaled() const { return !finite && loss_scale > 1; }
};

/// The model, the optimizer and one training step over lanes (D5): forward and backward lane by lane or folded, the
/// gradients of lanes summed in the canonical tree, then norm, clip, optimizers, running statistics, weight average.
///
/// With precision fp16 the loss is scaled by a factor that is lowered when gradients overflow (that step is skipped)
/// and raised when they have not for a while. Ref: Micikevicius et al. 2018, arXiv:1710.03740.
class TrainingStep {
 public:
  TrainingStep(Context& context, const Config& config, data::PictureShape pictures, int64_t classes,
               int64_t steps_per_epoch, StepSwitches switches = {}, LaneEngine* engine = nullptr);
  ~TrainingStep();

  /// Takes a step. On a GPU it is only queued: its outcome comes with a later take_outcomes(). False when the lane engine
  /// gave the step up: nothing has changed.
  bool run(const data::Batch& batch);
  /// The outcomes of steps since the last call, in order: of all of them with `all` (a GPU is waited for), else of
  /// those that are known without waiting for long. Once a step was not finite and train.nonfinite says stop, the
  /// steps queued behind it change nothing.
  std::vector<StepOutcome> take_outcomes(bool all);

  /// Optimizer steps taken or skipped so far: where the schedules stand.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  /// Of the first group in the last step.
  double learning_rate() const { return learning_rate_; }
  /// To be called when the parameters were written from outside: loaded, or exchanged for their average.
  void weights_changed() { lanes_.weights_changed(); }

  LanePass& lanes() { return lanes_; }
  nn::Network& network() { return lanes_.network(); }
  ParameterStore& store() { return lanes_.store(); }
  const ParameterStore& store() const { return lanes_.store(); }
  const std::shared_ptr<Arena>& arena() const { return arena_; }
  /// Of the plans recorded so far, which take turns in the arena.
  std::vector<PlanStats> plan_stats() const;
  /// What optimizers and the weight average carry, as flat tensors: "optimizer.0.exp_avg", "ema".
  std::vector<StateTensor> state() const;
  /// Name of the first parameter that is not finite, or "".
  std::string bad_parameter() const;
  /// Names the first tensor that is not finite after a step that was not: a parameter, the loss, or a gradient.
  std::string first_bad_tensor(const StepOutcome& outcome) const;
  /// Exchanges weights and their average, for an evaluation of the average; a second call changes back.
  void swap_average();

 private:
  struct Group {
    std::unique_ptr<Optimizer> optimizer;
    std::unique_ptr<LrSchedule> schedule;
    int64_t frozen_from = -1;  ///< step from which it no longer updates; -1: never
    Tensor lr;                 ///< f64 [1]
  };
  void make_groups(const Config& config, int64_t steps_per_epoch);
  struct Pending;
  std::vector<Tensor> update(const Tensor& loss_bad);
  void compile_steps();
  void run_folded(const data::Batch& batch, Pending& pending);
  bool run_lanes(const data::Batch& batch, Pending& pending);
  void finish_lanes(const LaneResults& results, Pending& pending);
  void set_rates();
  StepOutcome outcome_of(const Pending& pending) const;

  Context& context_;
  Config config_;
  StepSwitches switches_;
  LaneEngine* engine_;
  LanePass lanes_;
  std::vector<int64_t> statistics_sizes_;  // where lanes are not folded
  Tensor loss_scale_, good_steps_;  // f32 [1], i64 [1] of fp16's dynamic scale; undefined otherwise
  Tensor stopped_;               // f32 [1], not 0: a step was not finite and nothing may change; undefined on the CPU
  std::vector<Group> groups_;
  std::optional<WeightAverage> average_;
  std::shared_ptr<Arena> arena_;
  std::optional<CompiledStep> folded_;  // a whole step
  std::optional<LaneRunner> runner_;    // or its parts: lanes one after another, unless an engine computes them ...
  std::optional<CompiledStep> update_;  // ... and what follows
  std::vector<Pending> pending_;
  double learning_rate_ = 0;
  int64_t steps_ = 0;
};

}  // namespace tern
