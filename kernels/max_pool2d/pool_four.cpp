#include "kernels/max_pool2d/pool_four.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/max_pool2d/pool_four.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

const hn::ScalableTag<float> kF32;
const hn::RebindToSigned<decltype(kF32)> kI32;
const hn::Rebind<uint8_t, decltype(kI32)> kU8;

inline int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(kF32)); }

using Vec = hn::Vec<decltype(kF32)>;
using Positions = hn::Vec<decltype(kI32)>;

/// Whole vectors of channels, or the first n of one. Bytes go by a copy: a masked load of them may read all.
struct Whole {
  Vec load(const float* from) const { return hn::LoadU(kF32, from); }
  void store(const Vec& v, float* to) const { hn::StoreU(v, kF32, to); }
  Positions load(const uint8_t* from) const { return hn::PromoteTo(kI32, hn::LoadU(kU8, from)); }
  void store(const Positions& v, uint8_t* to) const { hn::StoreU(hn::DemoteTo(kU8, v), kU8, to); }
};
struct First {
  explicit First(size_t count) : n(count), mask(hn::FirstN(kF32, count)) {}
  Vec load(const float* from) const { return hn::MaskedLoad(mask, kF32, from); }
  void store(const Vec& v, float* to) const { hn::BlendedStore(v, mask, kF32, to); }
  Positions load(const uint8_t* from) const {
    uint8_t bytes[16] = {};
    std::memcpy(bytes, from, n);
    return Whole().load(bytes);
  }
  void store(const Positions& v, uint8_t* to) const {
    uint8_t bytes[16];
    Whole().store(v, bytes);
    std::memcpy(to, bytes, n);
  }
  size_t n;
  hn::Mask<decltype(kF32)> mask;
};

/// Calls f(channel, access) for whole vectors of channels and what is left.
template <class F>
HWY_INLINE void ForChannels(int64_t channels, const F& f) {
  int64_t c = 0;
  for (; c + Lanes() <= channels; c += Lanes()) f(c, Whole());
  if (c < channels) f(c, First(static_cast<size_t>(channels - c)));
}

void MaxRow(const float* upper, const float* lower, int64_t count, int64_t channels, float* y, uint8_t* index) {
  for (int64_t i = 0; i < count; ++i, upper += 2 * channels, lower += 2 * channels, y += channels) {
    ForChannels(channels, [&](int64_t c, const auto& access) {
      Vec best = access.load(upper + c);
      Positions where = hn::Zero(kI32);
      const auto keep_larger = [&](const float* from, int32_t position) {
        const Vec v = access.load(from + c);
        const auto wins = hn::Or(hn::Gt(v, best), hn::IsNaN(v));
        best = hn::IfThenElse(wins, v, best);
        where = hn::IfThenElse(hn::RebindMask(kI32, wins), hn::Set(kI32, position), where);
      };
      keep_larger(upper + channels, 1);
      keep_larger(lower, 2);
      keep_larger(lower + channels, 3);
      access.store(best, y + c);
      if (index != nullptr) access.store(where, index + c);
    });
    if (index != nullptr) index += channels;
  }
}

void SpreadRow(const float* dy, const uint8_t* index, int64_t count, int64_t channels, float* upper, float* lower) {
  for (int64_t i = 0; i < count; ++i, upper += 2 * channels, lower += 2 * channels, dy += channels, index += channels) {
    ForChannels(channels, [&](int64_t c, const auto& access) {
      const Vec g = access.load(dy + c);
      const Positions where = access.load(index + c);
      const auto part = [&](int32_t position, float* to) {
        access.store(hn::IfThenElseZero(hn::RebindMask(kF32, hn::Eq(where, hn::Set(kI32, position))), g), to + c);
      };
      part(0, upper);
      part(1, upper + channels);
      part(2, lower);
      part(3, lower + channels);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace {

HWY_EXPORT(MaxRow);
HWY_EXPORT(SpreadRow);

}  // namespace

void max_of_four_row(const float* upper, const float* lower, int64_t count, int64_t channels, float* y, uint8_t* index) {
  HWY_DYNAMIC_DISPATCH(MaxRow)(upper, lower, count, channels, y, index);
}

void spread_to_four_row(const float* dy, const uint8_t* index, int64_t count, int64_t channels, float* upper, float* lower) {
  HWY_DYNAMIC_DISPATCH(SpreadRow)(dy, index, count, channels, upper, lower);
}

}  // namespace tern
#endif
