#pragma once
#include "core/thread_pool.h"

namespace tern::bench {

/// What this machine can do at this moment on the pool's threads: the figures that results are a share of.
struct Peaks {
  double fma_gflops = 0;  ///< independent f32 multiply-adds of the widest vectors, 2 operations each
  double copy_gbps = 0;   ///< memcpy between 64 MiB blocks, bytes read and written, 1e9 a second
};

/// The best of several short runs; takes about half a second.
Peaks measure_peaks(ThreadPool& pool);

}  // namespace tern::bench
