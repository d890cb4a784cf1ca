#pragma once
#include "kernels/common/team.cuh"

namespace tern::cuda {

/// kPack elements in one access or, where memory is not aligned, one by one: the same arithmetic follows.
template <int kPack, class T>
__device__ inline Pack<T, kPack> load_any(const T* from, bool aligned) {
  if (aligned) return load_pack<T, kPack>(from);
  Pack<T, kPack> pack;
  for (int i = 0; i < kPack; ++i) pack.v[i] = from[i];
  return pack;
}

template <int kPack, class T>
__device__ inline void store_any(T* to, const Pack<T, kPack>& pack, bool aligned) {
  if (aligned) return store_pack(to, pack);
  for (int i = 0; i < kPack; ++i) to[i] = pack.v[i];
}

/// A thread's share of a row that its team goes over several times: read from memory once, as far as registers hold it.
/// A row is `units` packs, `step` elements apart.
template <int kPack, class T>
class HeldRow {
 public:
  template <bool kWholeBlock>
  __device__ HeldRow(const Team<kWholeBlock>& team, const T* x, int64_t units, int64_t step, bool aligned)
      : x_(x), units_(units), step_(step), rank_(team.rank), size_(team.size), aligned_(aligned) {
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (rank_ + j * size_ < units_) held_[j] = load_any<kPack>(x_ + (rank_ + j * size_) * step_, aligned_);
  }
  /// f(unit, pack) for the thread's units.
  template <class F>
  __device__ void each(const F& f) const {
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (rank_ + j * size_ < units_) f(int64_t{rank_} + j * size_, held_[j]);
    for (int64_t unit = rank_ + int64_t{kHeld} * size_; unit < units_; unit += size_)
      f(unit, load_any<kPack>(x_ + unit * step_, aligned_));
  }

 private:
  static constexpr int kHeld = 8;
  const T* x_;
  int64_t units_, step_;
  int rank_, size_;
  bool aligned_;
  Pack<T, kPack> held_[kHeld];
};

/// Elements of T in an access to rows of `width` neighbours, as a template argument: f(constant).
template <class T, class F>
void with_row_pack(int64_t width, const F& f) {
  constexpr int kWide = std::is_same_v<Compute<T>, float> ? kPackWidth<T> : 1;
  if (kWide > 1 && width % kWide == 0) return f(std::integral_constant<int, kWide>{});
  f(std::integral_constant<int, 1>{});
}

/// The larger of two numbers; a NaN loses.
struct Larger {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return b > a || a != a ? b : a;
  }
};

}  // namespace tern::cuda
