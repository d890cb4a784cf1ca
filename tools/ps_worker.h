#pragma once
#include "tools/cli_ps.h"
#include "tools/progress.h"

namespace tern {

/// Serves a ps_server until the training ends, the server is gone for too long, or a signal says to leave. Returns the
/// exit code. Throws ConfigError, DataError, DeviceError where this machine cannot do what the server trains, and
/// PeerLostError.
int run_worker(const WorkerArgs& args, Progress& progress);

}  // namespace tern
