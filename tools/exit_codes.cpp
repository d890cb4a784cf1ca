#include "tools/exit_codes.h"

namespace tern {

ExitCode exit_code_for(const std::exception& error) {
  const auto is = [&]<class E>(const E*) { return dynamic_cast<const E*>(&error) != nullptr; };
  if (is(static_cast<ConfigError*>(nullptr))) return ExitCode::usage;
  if (is(static_cast<DataError*>(nullptr))) return ExitCode::data;
  if (is(static_cast<DeviceError*>(nullptr))) return ExitCode::device;
  if (is(static_cast<DivergedError*>(nullptr))) return ExitCode::diverged;
  if (is(static_cast<ExpectationError*>(nullptr))) return ExitCode::expectation_missed;
  if (is(static_cast<PeerLostError*>(nullptr))) return ExitCode::peer_lost;
  if (const auto* interrupted = dynamic_cast<const InterruptedError*>(&error)) return exit_code_for_signal(interrupted->signal);
  return ExitCode::failure;
}

}  // namespace tern
