#include "kernels/max_pool2d/pool_four.h"

#include <algorithm>
#include <cstring>
#include <vector>

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

/// Whole vectors of channels, or the first n of one.
struct Whole {
  Vec load(const float* from) const { return hn::LoadU(kF32, from); }
  void store(const Vec& v, float* to) const { hn::StoreU(v, kF32, to); }
};
struct First {
  explicit First(size_t count) : mask(hn::FirstN(kF32, count)) {}
  Vec load(const float* from) const { return hn::MaskedLoad(mask, kF32, from); }
  void store(const Vec& v, float* to) const { hn::BlendedStore(v, mask, kF32, to); }
  hn::Mask<decltype(kF32)> mask;
};

/// Calls f(channel, access) for whole vectors of channels and what is left.
template <class F>
HWY_INLINE void ForChannels(int64_t channels, const First& rest, const F& f) {
  int64_t c = 0;
  for (; c + Lanes() <= channels; c += Lanes()) f(c, Whole());
  if (c < channels) f(c, rest);
}

/// `index` has room for a whole vector behind its end.
void MaxRow(const float* upper, const float* lower, int64_t count, int64_t channels, float* y, uint8_t* index) {
  const First rest(static_cast<size_t>(channels % Lanes()));
  for (int64_t i = 0; i < count; ++i, upper += 2 * channels, lower += 2 * channels, y += channels) {
    ForChannels(channels, rest, [&](int64_t c, const auto& access) {
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
      if (index != nullptr) hn::StoreU(hn::DemoteTo(kU8, where), kU8, index + c);  // what is too much, the next window overwrites
    });
    if (index != nullptr) index += channels;
  }
}

/// `index` may be read for a whole vector behind its end.
void SpreadRow(const float* dy, const uint8_t* index, int64_t count, int64_t channels, float* upper, float* lower) {
  const First rest(static_cast<size_t>(channels % Lanes()));
  for (int64_t i = 0; i < count; ++i, upper += 2 * channels, lower += 2 * channels, dy += channels, index += channels) {
    ForChannels(channels, rest, [&](int64_t c, const auto& access) {
      const Vec g = access.load(dy + c);
      const Positions where = hn::PromoteTo(kI32, hn::LoadU(kU8, index + c));
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

/// Windows whose bytes go through a buffer with room behind them, where channels are no whole vectors.
constexpr int64_t kBuffer = 2048, kRoom = 64;

/// Calls f(first, count) for pieces of a row whose bytes fit the buffer.
template <class F>
void for_pieces(int64_t count, int64_t channels, const F& f) {
  const int64_t piece = std::max<int64_t>(1, kBuffer / channels);
  for (int64_t first = 0; first < count; first += piece) f(first, std::min(piece, count - first));
}

/// So many bytes and room for a vector behind them.
class Bytes {
 public:
  explicit Bytes(int64_t count) : large_(count > kBuffer ? static_cast<size_t>(count + kRoom) : 0) {}
  uint8_t* data() { return large_.empty() ? small_ : large_.data(); }

 private:
  uint8_t small_[kBuffer + kRoom];
  std::vector<uint8_t> large_;
};

}  // namespace

void max_of_four_row(const float* upper, const float* lower, int64_t count, int64_t channels, float* y, uint8_t* index) {
  if (index == nullptr || channels % 16 == 0) return HWY_DYNAMIC_DISPATCH(MaxRow)(upper, lower, count, channels, y, index);
  for_pieces(count, channels, [&](int64_t first, int64_t number) {
    Bytes bytes(number * channels);
    HWY_DYNAMIC_DISPATCH(MaxRow)(upper + 2 * first * channels, lower + 2 * first * channels, number, channels, y + first * channels, bytes.data());
    std::memcpy(index + first * channels, bytes.data(), static_cast<size_t>(number * channels));
  });
}

void spread_to_four_row(const float* dy, const uint8_t* index, int64_t count, int64_t channels, float* upper, float* lower) {
  if (channels % 16 == 0) return HWY_DYNAMIC_DISPATCH(SpreadRow)(dy, index, count, channels, upper, lower);
  for_pieces(count, channels, [&](int64_t first, int64_t number) {
    Bytes bytes(number * channels);
    std::memcpy(bytes.data(), index + first * channels, static_cast<size_t>(number * channels));
    HWY_DYNAMIC_DISPATCH(SpreadRow)(dy + first * channels, bytes.data(), number, channels, upper + 2 * first * channels, lower + 2 * first * channels);
  });
}

}  // namespace tern
#endif
