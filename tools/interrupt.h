#pragma once

namespace tern {

/// Catches SIGINT and SIGTERM while it lives: the first one asks for a stop at the next step, the second one ends the
/// process at once with 128 + signal. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// The signal that came, or 0.
  static int signal();
};

}  // namespace tern
