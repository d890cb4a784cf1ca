#pragma once
#include <algorithm>
#include <cstdint>

#include "core/context.h"
#include "core/thread_pool.h"

namespace tern {

/// Elements that one task of an elementwise loop covers: large enough to hide the cost of handing it out.
inline constexpr int64_t kElementChunk = int64_t{1} << 14;

/// Calls `body(begin, end)` on the pool for fixed pieces of 0..count-1. For loops whose elements do not depend on each
/// other, so that the cut cannot change bits.
template <class Body>
void for_chunks(Context& context, int64_t count, const Body& body, int64_t chunk = kElementChunk) {
  if (count <= chunk) return body(int64_t{0}, count);
  context.pool().parallel_for((count + chunk - 1) / chunk,
                              [&](int64_t i) { body(i * chunk, std::min(count, (i + 1) * chunk)); });
}

/// The pool for work of so many floating-point operations: what takes microseconds stays on the calling thread, where it is done before
/// another one is awake.
inline ThreadPool& pool_for(ThreadPool& pool, double flops) {
  static ThreadPool alone(1);
  return flops < 1.5e6 ? alone : pool;
}

}  // namespace tern
