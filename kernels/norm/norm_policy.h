#pragma once
#include <cmath>

#include "core/rng.h"

namespace tern {

/// Sums squares; the root at the end.
template <class A>
struct NormPolicy {
  TERN_HOST_DEVICE A identity() const { return 0; }
  TERN_HOST_DEVICE A map(A x, int64_t) const { return x * x; }
  TERN_HOST_DEVICE A combine(A a, A b) const { return a + b; }
  TERN_HOST_DEVICE A finish(A sum) const { return std::sqrt(sum); }
};

}  // namespace tern
