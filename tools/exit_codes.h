#pragma once
#include <exception>

#include "core/error.h"

namespace tern {

/// What the programs return to the shell.
enum class ExitCode : int {
  ok = 0,
  failure = 1,             ///< a runtime failure that has no code of its own
  usage = 2,               ///< command line or config
  data = 3,                ///< data, weights or checkpoint missing or corrupt
  device = 4,              ///< device unavailable
  diverged = 5,            ///< NaN or Inf, and `train.nonfinite` says stop
  expectation_missed = 6,  ///< `--expect-acc` was not reached
  peer_lost = 7,
  interrupted = 130,  ///< SIGINT, with a checkpoint saved
  terminated = 143    ///< SIGTERM, with a checkpoint saved
};

/// A run whose numbers are no longer finite; names epoch, step and the first bad tensor.
struct DivergedError : Error {
  using Error::Error;
};
/// A run that ended below what its caller asked for.
struct ExpectationError : Error {
  using Error::Error;
};

/// Work that a signal ended before there was anything to save.
struct InterruptedError : Error {
  InterruptedError(const std::string& what, int signal) : Error(what), signal(signal) {}
  int signal;
};

/// The code for an error that reached main().
ExitCode exit_code_for(const std::exception& error);

/// 128 + signal, as shells report it.
constexpr ExitCode exit_code_for_signal(int signal) { return static_cast<ExitCode>(128 + signal); }

}  // namespace tern
