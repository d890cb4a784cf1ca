#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/cli.h"
#include "tools/config.h"
#include "tools/progress.h"

namespace tern {

/// What a learning-rate range test saw.
struct LrCurve {
  struct Point {
    double lr = 0, loss = 0, smoothed = 0;
  };
  std::vector<Point> points;  ///< a step each, the rate growing
  bool exploded = false;      ///< ended before the largest rate

  /// The rate where the smoothed loss falls steepest over log(lr); nothing where it never falls. The first tenth and
  /// the last five steps do not count: the average is still young, and the loss is already exploding.
  std::optional<double> steepest() const;
  /// A tenth of the rate of the smallest smoothed loss, over the same steps.
  std::optional<double> tenth_of_minimum() const;
  /// The smallest and largest loss that a picture should show: an exploding end would press the rest into a flat line, so half
  /// above the first loss is enough of it. There must be a point.
  std::pair<double, double> shown_losses() const;
};

/// Adds a loss to the curve: its exponential average with weight 0.98, bias-corrected. Returns false once the test is over:
/// the loss is not finite, or the average is over four times its smallest.
/// Ref: Smith: Cyclical learning rates for training neural networks (2017, arXiv:1506.01186), 3.3; the smoothing, the limit
/// and the suggestions are those of fastai's learner.lr_find.
bool add_loss(LrCurve& curve, double lr, double loss);

/// The config's training with the rate growing exponentially from args.min_lr to args.max_lr over args.steps steps; groups
/// of the optimizer keep their rates' ratios to the first. Nothing is written. Throws as the training would, but for a
/// loss that is not finite, which ends the test.
LrCurve find_lr(const Config& config, const LrFindArgs& args, Progress& progress);

std::string lr_curve_text(const LrCurve& curve, const Config& config);
/// Columns step, lr, loss, smoothed.
std::string lr_curve_csv(const LrCurve& curve);
/// The curve over a logarithmic axis: a dot a step's loss, their average as a line, both suggestions marked. Defined in
/// lr_curve_svg.cpp. `title` is a config's name.
std::string lr_curve_svg(const LrCurve& curve, const std::string& title);

}  // namespace tern
