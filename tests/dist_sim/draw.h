#pragma once
#include <cstdint>
#include <vector>

namespace tern::dist::sim {

/// Mixes 64 bits; the step of splitmix64. Ref: Steele et al. (2014), doi.org/10.1145/2660193.2660195.
inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Where every decision of a simulation comes from: the same on every platform, unlike the distributions of <random>.
class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(mix(seed)) {}
  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15;
    return mix(state_);
  }
  /// In [low, high].
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(double p) { return static_cast<double>(bits() >> 11) * 0x1p-53 < p; }
  /// In [low, high], small numbers as often as large ones.
  int64_t magnitude(int64_t low, int64_t high) {
    int doublings = 0;
    while ((low << doublings) < high) ++doublings;
    const int64_t start = low << between(0, doublings > 0 ? doublings - 1 : 0);
    const int64_t end = start * 2 < high ? start * 2 : high;
    return between(start, end);
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<size_t>(bits() % from.size())];
  }

 private:
  uint64_t state_;
};

}  // namespace tern::dist::sim
