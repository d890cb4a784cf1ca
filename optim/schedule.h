#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace tern {

/// A learning rate as a pure function of the step: the same step gives the same rate, whatever was asked before, so a
/// resumed run needs nothing but its step. Formulas are closed forms of PyTorch's chained updates, in f64.
class LrSchedule {
 public:
  /// Throws ConfigError when total_steps is under 1.
  explicit LrSchedule(int64_t total_steps);
  virtual ~LrSchedule() = default;

  /// The rate of optimizer step `step`, counted from 0. From `total_steps()` on, that of the last step.
  /// Throws ConfigError when step is negative.
  double at(int64_t step) const;
  int64_t total_steps() const { return total_steps_; }

 private:
  virtual double rate(int64_t step) const = 0;  // 0 <= step < total_steps

  int64_t total_steps_;
};

/// lr(t) = lr. PyTorch: no scheduler.
class ConstantLr : public LrSchedule {
 public:
  ConstantLr(double lr, int64_t total_steps);

 private:
  double rate(int64_t step) const override;
  double lr_;
};

struct OneCycleOptions {
  double max_lr = 0.01;
  double pct_start = 0.3;         ///< share of the steps in which the rate rises
  bool cosine = true;             ///< anneal by a half cosine; false: by a straight line
  double div_factor = 25;         ///< first rate = max_lr / div_factor
  double final_div_factor = 1e4;  ///< last rate = first rate / final_div_factor
  bool three_phase = false;       ///< fall to the first rate as fast as it rose, then to the last one
};

/// Rises from max_lr / div_factor to max_lr at step pct_start * T - 1, then falls to the last rate at step T - 1; with
/// three_phase it is back at the first rate at step 2 * pct_start * T - 2. Between two such points, p of the way from a
/// to b: b + (a - b) / 2 * (1 + cos(pi p)), or a + (b - a) p. Only the rate is cycled, never momentum or betas.
/// PyTorch: OneCycleLR(cycle_momentum=False). Ref: Smith, Topin 2017, arXiv:1708.07120.
class OneCycleLr : public LrSchedule {
 public:
  OneCycleLr(const OneCycleOptions& options, int64_t total_steps);

 private:
  double rate(int64_t step) const override;
  OneCycleOptions options_;
};

struct CosineOptions {
  double lr = 1e-3;
  int64_t t_max = 0;  ///< steps from lr down to eta_min; 0: all of the run
  double eta_min = 0;
};

/// lr(t) = eta_min + (lr - eta_min) (1 + cos(pi t / t_max)) / 2; after t_max it rises again.
/// PyTorch: CosineAnnealingLR. Ref: Loshchilov, Hutter 2016, arXiv:1608.03983 (without restarts).
class CosineLr : public LrSchedule {
 public:
  CosineLr(const CosineOptions& options, int64_t total_steps);

 private:
  double rate(int64_t step) const override;
  CosineOptions options_;
};

struct StepOptions {
  double lr = 1e-3;
  int64_t step_size = 0;  ///< steps from one drop to the next, at least 1
  double gamma = 0.1;
};

/// lr(t) = lr * gamma^floor(t / step_size). PyTorch: StepLR.
class StepLr : public LrSchedule {
 public:
  StepLr(const StepOptions& options, int64_t total_steps);

 private:
  double rate(int64_t step) const override;
  StepOptions options_;
};

struct LinearOptions {
  double lr = 1e-3;
  double start_factor = 1;
  double end_factor = 0;
  int64_t steps = 0;  ///< from start_factor to end_factor; 0: all of the run
};

/// lr(t) = lr * (start_factor + (end_factor - start_factor) min(t / steps, 1)). PyTorch: LinearLR (whose defaults are
/// those of a warm-up: 1/3 to 1 in 5 steps).
class LinearLr : public LrSchedule {
 public:
  LinearLr(const LinearOptions& options, int64_t total_steps);

 private:
  double rate(int64_t step) const override;
  LinearOptions options_;
};

/// A linear rise to the first rate of another schedule, which then begins: for W warm-up steps
/// lr(t) = after.at(0) * (start_factor + (1 - start_factor) t / W), then after.at(t - W). Its total is W + after's.
/// PyTorch: SequentialLR([LinearLR(start_factor, 1, W), after], milestones=[W]).
class WarmupLr : public LrSchedule {
 public:
  WarmupLr(int64_t warmup_steps, double start_factor, std::unique_ptr<LrSchedule> after);

 private:
  double rate(int64_t step) const override;
  int64_t warmup_steps_;
  double start_factor_;
  std::unique_ptr<LrSchedule> after_;
};

/// Any of the schedules above as plain values. The fields that `name` does not use are ignored.
struct ScheduleOptions {
  std::string name = "constant";      ///< constant, onecycle, cosine, step, linear
  double lr = 1e-3;                   ///< base rate of all but onecycle, which has max_lr
  double max_lr = 0.01;               ///< onecycle
  double pct_start = 0.3;             ///< onecycle
  std::string anneal = "cos";         ///< onecycle: cos, linear
  double div_factor = 25;             ///< onecycle
  double final_div_factor = 1e4;      ///< onecycle
  bool three_phase = false;           ///< onecycle
  int64_t t_max = 0;                  ///< cosine, in steps; 0: what warm-up leaves of the run
  double eta_min = 0;                 ///< cosine
  int64_t step_size = 0;              ///< step, in steps
  double gamma = 0.1;                 ///< step
  double start_factor = 1;            ///< linear
  double end_factor = 0;              ///< linear
  int64_t linear_steps = 0;           ///< linear; 0: what warm-up leaves of the run
  int64_t warmup_steps = 0;           ///< in front of any; 0: none
  double warmup_start_factor = 0.01;  ///< share of the first rate at step 0
};

/// The schedule for a run of total_steps optimizer steps, warm-up included. Throws ConfigError naming the option.
std::unique_ptr<LrSchedule> make_schedule(const ScheduleOptions& options, int64_t total_steps);

}  // namespace tern
