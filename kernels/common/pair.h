#pragma once
#include <cstdint>

namespace tern {

/// A value for each of the two spatial axes: `Conv2d{.stride = 2, .padding = {1, 0}}`.
struct Pair {
  int64_t h = 0;
  int64_t w = 0;

  constexpr Pair() = default;
  constexpr Pair(int64_t both) : h(both), w(both) {}  // NOLINT(google-explicit-constructor): the short form is the point
  constexpr Pair(int64_t height, int64_t width) : h(height), w(width) {}
  bool operator==(const Pair&) const = default;
};

}  // namespace tern
