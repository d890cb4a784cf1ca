#include "tools/lr_find.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "tools/data_loader.h"
#include "tools/data_run.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/session.h"
#include "tools/training_step.h"

namespace tern {
namespace {

constexpr double kSmoothing = 0.98;
constexpr double kExplodes = 4;

/// The largest rate of a group's schedule.
double peak_rate(const OptimConfig& group, const ScheduleConfig& schedule) {
  return schedule.name == ScheduleName::onecycle ? schedule.max_lr : group.lr;
}

/// The config with rates that grow by the same factor each step, `steps` times.
Config growing(const Config& given, const LrFindArgs& args) {
  Config config = given;
  config.train.epochs = args.steps;  // of one step each, as the schedule is told
  config.train.early_stop.reset();
  config.train.nonfinite = {};
  config.schedule = ScheduleConfig{};
  config.schedule.name = ScheduleName::step;
  config.schedule.step_size = 1;
  config.schedule.gamma = std::pow(args.max_lr / args.min_lr, 1.0 / (args.steps - 1));
  const double first = peak_rate(given.optim[0], given.optim[0].schedule.value_or(given.schedule));
  for (size_t i = 0; i < config.optim.size(); ++i) {
    OptimConfig& group = config.optim[i];
    const double ratio = first > 0 ? peak_rate(given.optim[i], given.optim[i].schedule.value_or(given.schedule)) / first : 1;
    group.lr = args.min_lr * ratio;
    group.schedule.reset();
    if (group.frozen_after != 0.0) group.frozen_after.reset();  // what never moves stays
  }
  return config;
}

/// The steps whose average can be trusted: [first, last).
std::pair<size_t, size_t> counted(const LrCurve& curve) {
  const size_t n = curve.points.size(), first = n / 10, last = n > first + 6 ? n - 5 : n;
  return {first, last};
}

/// "0.00123" with three digits, as it may stand in a config.
std::string rate_text(double rate) { return format("%.3g", rate); }

}  // namespace

bool add_loss(LrCurve& curve, double lr, double loss) {
  if (!std::isfinite(loss)) {
    curve.exploded = true;
    return false;
  }
  const auto n = static_cast<double>(curve.points.size());
  double average = 0;  // before the correction of its young age
  if (!curve.points.empty()) average = curve.points.back().smoothed * (1 - std::pow(kSmoothing, n));
  average = kSmoothing * average + (1 - kSmoothing) * loss;
  const double smoothed = average / (1 - std::pow(kSmoothing, n + 1));
  curve.points.push_back({lr, loss, smoothed});
  const auto smallest = std::ranges::min(curve.points, {}, &LrCurve::Point::smoothed);
  curve.exploded = smoothed > kExplodes * smallest.smoothed;
  return !curve.exploded;
}

std::pair<double, double> LrCurve::shown_losses() const {
  const double first = points.front().smoothed, low = std::ranges::min(points, {}, &Point::smoothed).smoothed;
  return {low, std::max(first + 0.5 * (first - low), low + 1e-9)};
}

std::optional<double> LrCurve::steepest() const {
  const auto [first, last] = counted(*this);
  std::optional<double> best;
  double steepest = 0;
  for (size_t i = first + 1; i + 1 < last; ++i) {  // central differences; the rates are equally far apart in log(lr)
    const double slope = points[i + 1].smoothed - points[i - 1].smoothed;
    if (slope >= steepest) continue;
    steepest = slope;
    best = points[i].lr;
  }
  return best;
}

std::optional<double> LrCurve::tenth_of_minimum() const {
  const auto [first, last] = counted(*this);
  if (first >= last) return std::nullopt;
  const auto best = std::min_element(points.begin() + static_cast<std::ptrdiff_t>(first), points.begin() + static_cast<std::ptrdiff_t>(last),
                                     [](const Point& a, const Point& b) { return a.smoothed < b.smoothed; });
  return best->lr / 10;
}

LrCurve find_lr(const Config& given, const LrFindArgs& args, Progress& progress) {
  Config config = growing(given, args);
  Context context(context_options(config, choose_device(config.run)));
  make_synthetic_data(config.data, progress);
  const data::RunData data = data::open_run_data(config.data, config.run.seed);
  data::Loader loader(data.train, data::loader_options(config));
  const int64_t classes = config.model.classes.value_or(static_cast<int>(data.train->classes().size()));
  TrainingStep training(context, config, data.train->shape(), classes, 1);
  training.lanes().initialize_from(*data.train);
  LrCurve curve;
  int64_t epoch = 0;
  loader.start(epoch);
  for (int step = 0; step < args.steps; ++step) {
    const data::Batch* batch = loader.next();
    if (!batch) {
      loader.start(++epoch);
      batch = loader.next();
    }
    training.run(*batch);
    const StepOutcome outcome = training.take_outcomes(true).back();
    progress.task("range test", step + 1, args.steps);
    const double loss = outcome.finite || outcome.rescaled() ? outcome.loss_sum / static_cast<double>(outcome.pictures) : NAN;
    if (!add_loss(curve, outcome.lr, loss) || InterruptGuard::signal() != 0) break;
  }
  progress.finish();
  return curve;
}

std::string lr_curve_text(const LrCurve& curve, const Config& config) {
  std::string text = format("%12s %10s %10s\n", "lr", "loss", "smoothed");
  constexpr size_t kRows = 25;
  const auto [low, high] = curve.shown_losses();
  const size_t every = std::max<size_t>(1, curve.points.size() / kRows);
  for (size_t i = 0; i < curve.points.size(); i += every) {
    const LrCurve::Point& p = curve.points[i];
    const auto bar = static_cast<size_t>(std::lround(40 * std::clamp((p.smoothed - low) / (high - low), 0.0, 1.0)));
    text += format("%12.3e %10.4f %10.4f  ", p.lr, p.loss, p.smoothed) + std::string(bar, '#') + "\n";
  }
  text += curve.exploded ? format("the loss exploded after %zu steps\n", curve.points.size()) : "";
  const auto steepest = curve.steepest(), tenth = curve.tenth_of_minimum();
  text += "steepest slope   " + (steepest ? rate_text(*steepest) : "none: the loss never falls") + "\n";
  text += "minimum / 10     " + (tenth ? rate_text(*tenth) : "none") + "\n";
  constexpr double kLeastFall = 0.03;
  const double fall = 1 - low / curve.points.front().smoothed;
  if (fall < kLeastFall) text += format("warning: the loss fell by %.1f %% only, which may be noise: take more --steps, or a larger batch\n", 100 * fall);
  if (!steepest) return text + "no suggestion: try another range, or more steps\n";
  const bool onecycle = config.optim[0].schedule.value_or(config.schedule).name == ScheduleName::onecycle;
  const std::string key = config.optim.size() == 1 && !onecycle ? "optim.lr" : onecycle ? "schedule.max_lr" : "optim.0.lr";
  return text + "suggestion: --set " + key + "=" + rate_text(*steepest) + "  (the steepest slope)\n";
}

std::string lr_curve_csv(const LrCurve& curve) {
  std::string text = "step,lr,loss,smoothed\n";
  for (size_t i = 0; i < curve.points.size(); ++i)
    text += format("%zu,%.9g,%.9g,%.9g\n", i + 1, curve.points[i].lr, curve.points[i].loss, curve.points[i].smoothed);
  return text;
}

}  // namespace tern
