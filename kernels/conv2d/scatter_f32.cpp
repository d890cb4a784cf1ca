#include "kernels/conv2d/scatter_f32.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/common/loops.h"
#include "kernels/common/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/scatter_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_SCATTER_F32_ONCE
#define TERN_SCATTER_F32_ONCE
namespace tern {

inline constexpr int64_t kMaxRow = 32;  // values of a filter's row

/// One picture's gradient with its padding.
struct PaddedPicture {
  float* data = nullptr;
  int64_t height = 0, width = 0;  ///< pixels that y meets

  static PaddedPicture of(const ConvShape& s) {
    const Conv2d& o = s.options;
    return {nullptr, (s.p - 1) * o.stride.h + (s.r - 1) * o.dilation.h + 1, (s.q - 1) * o.stride.w + s.s};
  }
};

}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {  // internal linkage: position-independent code would not inline across it

const hn::ScalableTag<float> kF32;
using Vec = hn::Vec<decltype(kF32)>;
constexpr int64_t kChain = 96;  // as in correlate_f32
constexpr int kMaxPixels = 12;
constexpr int kMaxVectors = static_cast<int>(kMaxRow / static_cast<int64_t>(hn::MaxLanes(kF32)));

/// Pixels of dy at once: their sums and V vectors of weights fill 16 or 32 registers.
constexpr int PixelsFor(int vectors) { return std::min(kMaxPixels, (HWY_TARGET == HWY_AVX2 ? 12 : 24) / vectors); }

/// Adds to P places of dx the same row of filters, each times its pixel of dy: rows[i][j] += sum over k of dy[i][k] * w[k][j], j < valid.
template <int P, int V>
void AddRows(const float* const* dy, int64_t filters, const float* HWY_RESTRICT w, float* const* rows, int64_t valid) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kF32));
  Vec sum[P][V];
  TERN_UNROLL for (int i = 0; i < P; ++i) TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::Zero(kF32);
  for (int64_t k = 0; k < filters; ++k, w += V * lanes) {
    Vec weight[V];
    TERN_UNROLL for (int v = 0; v < V; ++v) weight[v] = hn::Load(kF32, w + v * lanes);
    TERN_UNROLL for (int i = 0; i < P; ++i) {
      const Vec g = hn::Set(kF32, dy[i][k]);
      TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(g, weight[v], sum[i][v]);
    }
  }
  // Beyond `valid` lie other pixels, to which not even a NaN times zero may be added.
  const auto mask = hn::FirstN(kF32, static_cast<size_t>(valid - (V - 1) * lanes));
  TERN_UNROLL for (int i = 0; i < P; ++i) {
    TERN_UNROLL for (int v = 0; v + 1 < V; ++v) hn::StoreU(hn::Add(hn::LoadU(kF32, rows[i] + v * lanes), sum[i][v]), kF32, rows[i] + v * lanes);
    float* last = rows[i] + (V - 1) * lanes;
    hn::BlendedStore(hn::Add(hn::MaskedLoad(mask, kF32, last), sum[i][V - 1]), mask, kF32, last);
  }
}

using RowsFunction = void (*)(const float* const*, int64_t, const float*, float* const*, int64_t);
template <int V, int... I>
constexpr std::array<RowsFunction, kMaxPixels> MakeRows(std::integer_sequence<int, I...>) {
  return {&AddRows<I + 1, V>...};
}

inline int64_t RowFloats(const ConvShape& s) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kF32));
  return (s.s * s.c + lanes - 1) / lanes * lanes;
}

/// One picture. Rows of dy are taken together: what their pixels of one column add lies in different rows of dx.
template <int V>
void PictureOf(const ConvShape& s, const float* dy, const float* w, const PaddedPicture& dx) {
  constexpr auto kFunctions = MakeRows<V>(std::make_integer_sequence<int, PixelsFor(V)>());
  const Conv2d& o = s.options;
  const int64_t row_floats = dx.width * s.c, tiles = (s.p + PixelsFor(V) - 1) / PixelsFor(V);
  const int64_t filter_row = V * static_cast<int64_t>(hn::Lanes(kF32));
  for (int64_t r = 0; r < s.r; ++r) {  // outermost, so that the order of a sum does not depend on the tiles
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile * s.p / tiles, count = (tile + 1) * s.p / tiles - first;  // evenly filled tiles
      const float* from[kMaxPixels];
      float* to[kMaxPixels];
      for (int64_t i = 0; i < count; ++i) {
        from[i] = dy + (first + i) * s.q * s.k;
        to[i] = dx.data + ((first + i) * o.stride.h + r * o.dilation.h) * row_floats;
      }
      for (int64_t q = 0; q < s.q; ++q) {
        for (int64_t k = 0; k < s.k; k += kChain) {
          const int64_t filters = std::min(kChain, s.k - k);
          kFunctions[static_cast<size_t>(count - 1)](from, filters, w + (r * s.k + k) * filter_row, to, s.s * s.c);
          for (int64_t i = 0; i < count; ++i) from[i] += filters;
        }
        for (int64_t i = 0; i < count; ++i) to[i] += o.stride.w * s.c;
      }
    }
  }
}

void ScatterPicture(const ConvShape& s, const float* dy, const float* w, const PaddedPicture& dx) {
  const auto picture_of = [&]<int... I>(std::integer_sequence<int, I...>) {
    using Function = void (*)(const ConvShape&, const float*, const float*, const PaddedPicture&);
    constexpr std::array<Function, kMaxVectors> kPictures = {&PictureOf<I + 1>...};
    return kPictures[static_cast<size_t>(RowFloats(s) / static_cast<int64_t>(hn::Lanes(kF32)) - 1)];
  };
  picture_of(std::make_integer_sequence<int, kMaxVectors>())(s, dy, w, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace {

HWY_EXPORT(RowFloats);
HWY_EXPORT(ScatterPicture);

int64_t picture_floats(const ConvShape& s) {
  const PaddedPicture padded = PaddedPicture::of(s);
  return padded.height * padded.width * s.c;
}

/// What of a picture's gradient with its padding is the picture; zeros where y meets no more of it.
void cut_out(const ConvShape& s, const PaddedPicture& from, float* dx) {
  const int64_t top = s.options.padding.h, left = s.options.padding.w;
  const int64_t width = std::clamp<int64_t>(from.width - left, 0, s.w);
  for (int64_t h = 0; h < s.h; ++h, dx += s.w * s.c) {
    const int64_t inside = h + top < from.height ? width * s.c : 0;
    std::copy_n(from.data + ((h + top) * from.width + left) * s.c, inside, dx);
    std::fill(dx + inside, dx + s.w * s.c, 0.0F);
  }
}

}  // namespace

bool scatter_fits(const ConvShape& s) {
  constexpr int64_t kMostFloats = 1 << 16;  // of a picture, which should stay in a second-level cache
  return s.options.groups == 1 && s.options.dilation.w == 1 && s.c <= 8 && s.s * s.c <= kMaxRow && picture_floats(s) <= kMostFloats;
}

size_t scatter_dgrad_f32_workspace(const ConvShape& s, int threads) {
  return scratch_bytes<float>(s.r * s.k * kMaxRow) + static_cast<size_t>(threads) * scratch_bytes<float>(picture_floats(s));
}

void scatter_dgrad_f32(const ConvShape& s, const float* dy, const float* w, float* dx, std::span<std::byte> memory, ThreadPool& pool) {
  Scratch scratch(memory);
  const int64_t row = s.s * s.c, row_floats = HWY_DYNAMIC_DISPATCH(RowFloats)(s);
  float* filters = scratch.take<float>(s.r * s.k * kMaxRow);  // [R, K, row_floats]
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t r = 0; r < s.r; ++r) {
      float* to = filters + (r * s.k + k) * row_floats;
      std::copy_n(w + (k * s.r + r) * row, row, to);
      std::fill(to + row, to + row_floats, 0.0F);
    }
  std::vector<float*> slots;
  for (int slot = 0; slot < pool.threads(); ++slot) slots.push_back(scratch.take<float>(picture_floats(s)));
  pool.parallel_for(s.n, [&](int64_t n, int slot) {
    PaddedPicture own = PaddedPicture::of(s);
    own.data = slots[static_cast<size_t>(slot)];
    std::fill_n(own.data, picture_floats(s), 0.0F);
    HWY_DYNAMIC_DISPATCH(ScatterPicture)(s, dy + n * s.p * s.q * s.k, filters, own);
    cut_out(s, own, dx + n * s.h * s.w * s.c);
  });
}

}  // namespace tern
#endif
