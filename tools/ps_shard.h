#pragma once
#include "tools/cli_ps.h"
#include "tools/progress.h"

namespace tern {

/// Is a shard of a ps_server until the training ends, the server is gone for too long, or a signal says to leave.
/// Returns the exit code. Throws ConfigError where the server takes no shards or speaks another version, and
/// PeerLostError.
int run_shard(const ShardArgs& args, Progress& progress);

}  // namespace tern
