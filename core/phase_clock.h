#pragma once
#include <chrono>
#include <map>
#include <string_view>

namespace tern {

/// Splits wall time among named phases ("forward", "backward"): the time between two enter() calls belongs to the
/// first one's phase. Names are string literals.
class PhaseClock {
 public:
  /// Ends the running phase and starts `phase`; an empty name starts none.
  void enter(std::string_view phase) {
    const auto now = std::chrono::steady_clock::now();
    if (!current_.empty()) seconds_[current_] += std::chrono::duration<double>(now - since_).count();
    current_ = phase;
    since_ = now;
  }
  std::string_view current() const { return current_; }
  double seconds(std::string_view phase) const {
    const auto it = seconds_.find(phase);
    return it == seconds_.end() ? 0 : it->second;
  }
  void reset() { seconds_.clear(); }

 private:
  std::map<std::string_view, double> seconds_;
  std::string_view current_;
  std::chrono::steady_clock::time_point since_{};
};

}  // namespace tern
