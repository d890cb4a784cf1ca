#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace tern {

enum class ProgressStyle {
  automatic,  ///< bar on a terminal, lines elsewhere
  bar,        ///< one live line
  lines,      ///< a plain line now and then, no carriage returns
  json,       ///< an object a line
  none,
};

/// Where a training is, as its progress line shows it.
struct ProgressState {
  int64_t epoch = 1, epochs = 1;     ///< from 1
  int64_t step = 0, steps = 0;       ///< of the epoch
  double loss = 0, accuracy = 0;     ///< of the epoch so far
  double images_per_s = 0;
  double data_wait = 0;              ///< share of the time, 0..1
  double eta_seconds = 0;            ///< to the end of the run
};

/// Tells people how far a long piece of work is, on stderr. Colours and the bar only on a terminal, no colours with
/// NO_COLOR set.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void step(const ProgressState& state) = 0;
  /// Something that is done and stays on the screen: an epoch's result, a warning.
  virtual void message(const std::string& text) = 0;
  /// A smaller task of known length: "evaluating", 3200 of 10000.
  virtual void task(const std::string& name, int64_t done, int64_t total) = 0;
  /// Clears the live line.
  virtual void finish() = 0;
};

std::unique_ptr<Progress> make_progress(ProgressStyle style);

/// "1:02:03", "4:05" or "12 s".
std::string duration_text(double seconds);

}  // namespace tern
