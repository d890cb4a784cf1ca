#pragma once
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include "dist/rank_variables.h"

namespace tern::dist {

/// Gives rank 0's `bytes` (as many on every rank) to all: the others connect to MASTER_ADDR:MASTER_PORT, say who they
/// are, and read them. Plain TCP, once, before an engine of its own is up. Throws ConfigError where address or port is
/// missing, PeerLostError where not all ranks meet within `timeout`.
std::vector<std::byte> share_from_rank_0(const Placement& placement, std::span<const std::byte> bytes,
                                         std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace tern::dist
