#pragma once
/// Runs kernels on the CPU: blocks one after another in a shuffled order, a block's threads as fibers that meet at barriers
/// and warp collectives.
#include <cstdint>
#include <functional>

#include "tests/cuda_emulation/runtime.h"

namespace tern::emulation {

/// A place in a kernel where threads wait for each other.
struct Rendezvous {
  enum class Kind { barrier, barrier_count, barrier_or, barrier_and, syncwarp, shuffle, ballot };
  Kind kind;
  const char* file;
  int line;
};

/// Runs every block of the grid. Threads that cannot meet (a barrier in a divergent branch, a lane missing from a
/// collective) end the launch with cudaErrorLaunchFailure and a report on stderr.
cudaError_t run_grid(const void* kernel, dim3 grid, dim3 block, const std::function<void()>& thread);

// Called by kernels, in a thread of the running block:
int lane_index();
/// Waits for every thread of the block; returns how many gave a predicate that is not 0.
int block_barrier(Rendezvous place, int predicate);
/// Waits for the lanes in `mask`. Returns the value of lane `source`; for a ballot, the lanes whose value is not 0.
uint64_t warp_exchange(Rendezvous place, unsigned mask, uint64_t value, int source);
[[noreturn]] void trap(const char* file, int line);

}  // namespace tern::emulation
