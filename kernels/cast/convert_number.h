#pragma once
#include <limits>
#include <type_traits>

#include "core/rng.h"  // TERN_HOST_DEVICE

namespace tern {

/// x as another type that tern computes in: floats to integers cut off at the type's ends, NaN becomes 0.
template <class To, class From>
TERN_HOST_DEVICE To convert_number(From x) {
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // 2^digits is exact in every floating type, unlike the largest integer below it.
    constexpr From kEnd = static_cast<From>(To{1} << (std::numeric_limits<To>::digits - 1)) * 2;
    if (x != x) return To{0};
    if (x >= kEnd) return std::numeric_limits<To>::max();
    if (x < static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  }
  return static_cast<To>(x);
}

}  // namespace tern
