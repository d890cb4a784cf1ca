#pragma once
#include "core/rng.h"

namespace tern {

/// Sums squared distances from each output's mean.
template <class A>
struct VarPolicy {
  const A* means;
  A divisor;
  TERN_HOST_DEVICE A identity() const { return 0; }
  TERN_HOST_DEVICE A map(A x, int64_t output) const {
    const A distance = x - means[output];
    return distance * distance;
  }
  TERN_HOST_DEVICE A combine(A a, A b) const { return a + b; }
  TERN_HOST_DEVICE A finish(A sum) const { return sum / divisor; }
};

}  // namespace tern
