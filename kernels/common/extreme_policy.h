#pragma once
#include <limits>

#include "kernels/common/reduce.h"

namespace tern {

/// The policy of max and min over axes.
template <class A, bool kMax>
struct ExtremePolicy {
  TERN_HOST_DEVICE A identity() const {
    using Limits = std::numeric_limits<A>;
    const A above = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const A below = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    return kMax ? below : above;
  }
  TERN_HOST_DEVICE A map(A x, int64_t) const { return x; }
  TERN_HOST_DEVICE A combine(A a, A b) const {  // the first NaN stays
    const A chosen = (kMax ? b > a : b < a) ? b : a;
    return b != b ? b : chosen;
  }
  TERN_HOST_DEVICE A finish(A x) const { return x; }
};

}  // namespace tern
