#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>
#include <utility>

#include "core/error.h"

namespace tern {
namespace {

template <class T>
void require(bool good, const char* option, const T& got, const char* wanted) {
  if (good) return;
  std::ostringstream message;
  message << "[schedule] " << option << " is " << got << ", wanted " << wanted;
  throw ConfigError(message.str());
}

void require_rate(const char* option, double value) {
  require(std::isfinite(value) && value >= 0, option, value, "a finite number from 0");
}

void require_positive(const char* option, double value) {
  require(std::isfinite(value) && value > 0, option, value, "a finite number over 0");
}

}  // namespace

LrSchedule::LrSchedule(int64_t total_steps) : total_steps_(total_steps) {
  require(total_steps >= 1, "total_steps", total_steps, "1 or more");
}

double LrSchedule::at(int64_t step) const {
  require(step >= 0, "step", step, "0 or more");
  return rate(std::min(step, total_steps_ - 1));
}

ConstantLr::ConstantLr(double lr, int64_t total_steps) : LrSchedule(total_steps), lr_(lr) { require_rate("lr", lr); }

double ConstantLr::rate(int64_t) const { return lr_; }

OneCycleLr::OneCycleLr(const OneCycleOptions& options, int64_t total_steps)
    : LrSchedule(total_steps), options_(options) {
  require_rate("max_lr", options.max_lr);
  require_positive("div_factor", options.div_factor);
  require_positive("final_div_factor", options.final_div_factor);
  require(options.pct_start >= 0 && options.pct_start <= 1, "pct_start", options.pct_start, "0 to 1");
  require(!options.three_phase || options.pct_start <= 0.5, "pct_start", options.pct_start,
          "0 to 0.5 with three_phase, which rises and falls for that share each");
}

double OneCycleLr::rate(int64_t step) const {
  const double first = options_.max_lr / options_.div_factor;
  const double last = first / options_.final_div_factor;
  const double rise = options_.pct_start * static_cast<double>(total_steps());
  struct Point {
    double step, rate;
  };
  // As in PyTorch the points need not be whole steps, and the rise may end before step 0.
  const Point points[] = {
      {0, first}, {rise - 1, options_.max_lr}, {2 * rise - 2, first}, {static_cast<double>(total_steps() - 1), last}};
  const auto between = [&](const Point& a, const Point& b) {
    // A phase of no length stands at its end; PyTorch divides by zero here.
    const double p = b.step == a.step ? 1 : (static_cast<double>(step) - a.step) / (b.step - a.step);
    if (!options_.cosine) return a.rate + (b.rate - a.rate) * p;
    return b.rate + (a.rate - b.rate) / 2 * (1 + std::cos(std::numbers::pi * p));
  };
  const double now = static_cast<double>(step);
  if (now <= points[1].step) return between(points[0], points[1]);
  if (!options_.three_phase) return between(points[1], points[3]);
  if (now <= points[2].step) return between(points[1], points[2]);
  return between(points[2], points[3]);
}

CosineLr::CosineLr(const CosineOptions& options, int64_t total_steps) : LrSchedule(total_steps), options_(options) {
  require_rate("lr", options.lr);
  require_rate("eta_min", options.eta_min);
  require(options.t_max >= 0, "t_max", options.t_max, "0 (the whole run) or more");
  if (options_.t_max == 0) options_.t_max = total_steps;
}

double CosineLr::rate(int64_t step) const {
  // Whole periods are taken off first: the cosine of a large argument is less exact.
  const double t = std::fmod(static_cast<double>(step) / static_cast<double>(options_.t_max), 2.0);
  return options_.eta_min + (options_.lr - options_.eta_min) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

StepLr::StepLr(const StepOptions& options, int64_t total_steps) : LrSchedule(total_steps), options_(options) {
  require_rate("lr", options.lr);
  require(options.step_size >= 1, "step_size", options.step_size, "1 or more");
  require_positive("gamma", options.gamma);
}

double StepLr::rate(int64_t step) const {
  return options_.lr * std::pow(options_.gamma, static_cast<double>(step / options_.step_size));
}

LinearLr::LinearLr(const LinearOptions& options, int64_t total_steps) : LrSchedule(total_steps), options_(options) {
  require_rate("lr", options.lr);
  require_rate("start_factor", options.start_factor);
  require_rate("end_factor", options.end_factor);
  require(options.steps >= 0, "linear_steps", options.steps, "0 (the whole run) or more");
  if (options_.steps == 0) options_.steps = total_steps;
}

double LinearLr::rate(int64_t step) const {
  const double p = std::min(1.0, static_cast<double>(step) / static_cast<double>(options_.steps));
  return options_.lr * (options_.start_factor + (options_.end_factor - options_.start_factor) * p);
}

WarmupLr::WarmupLr(int64_t warmup_steps, double start_factor, std::unique_ptr<LrSchedule> after)
    : LrSchedule(warmup_steps + after->total_steps()),
      warmup_steps_(warmup_steps),
      start_factor_(start_factor),
      after_(std::move(after)) {
  require(warmup_steps >= 0, "warmup_steps", warmup_steps, "0 or more");
  require(start_factor >= 0 && start_factor <= 1, "warmup_start_factor", start_factor, "0 to 1");
}

double WarmupLr::rate(int64_t step) const {
  if (step >= warmup_steps_) return after_->at(step - warmup_steps_);
  const double p = static_cast<double>(step) / static_cast<double>(warmup_steps_);
  return after_->at(0) * (start_factor_ + (1 - start_factor_) * p);
}

std::unique_ptr<LrSchedule> make_schedule(const ScheduleOptions& options, int64_t total_steps) {
  require(total_steps >= 1, "total_steps", total_steps, "1 or more");
  require(options.warmup_steps >= 0 && options.warmup_steps < total_steps, "warmup_steps", options.warmup_steps,
          ("0 or more and fewer than the " + std::to_string(total_steps) + " steps of the run").c_str());
  const int64_t steps = total_steps - options.warmup_steps;
  std::unique_ptr<LrSchedule> schedule;
  if (options.name == "constant") {
    schedule = std::make_unique<ConstantLr>(options.lr, steps);
  } else if (options.name == "onecycle") {
    require(options.anneal == "cos" || options.anneal == "linear", "anneal", options.anneal, "cos or linear");
    const OneCycleOptions onecycle{.max_lr = options.max_lr,
                                   .pct_start = options.pct_start,
                                   .cosine = options.anneal == "cos",
                                   .div_factor = options.div_factor,
                                   .final_div_factor = options.final_div_factor,
                                   .three_phase = options.three_phase};
    schedule = std::make_unique<OneCycleLr>(onecycle, steps);
  } else if (options.name == "cosine") {
    schedule = std::make_unique<CosineLr>(CosineOptions{options.lr, options.t_max, options.eta_min}, steps);
  } else if (options.name == "step") {
    schedule = std::make_unique<StepLr>(StepOptions{options.lr, options.step_size, options.gamma}, steps);
  } else if (options.name == "linear") {
    const LinearOptions linear{options.lr, options.start_factor, options.end_factor, options.linear_steps};
    schedule = std::make_unique<LinearLr>(linear, steps);
  } else {
    require(false, "name", options.name, "constant, onecycle, cosine, step or linear");
  }
  if (options.warmup_steps == 0) return schedule;
  return std::make_unique<WarmupLr>(options.warmup_steps, options.warmup_start_factor, std::move(schedule));
}

}  // namespace tern
