#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/common/loops.h"
#include "kernels/common/sum_rows.h"
#include "kernels/common/vector_math.h"

/// The inner loops of batch normalisation on the CPU: plain loops over channels that compilers vectorise; they are
/// bound by memory. Acc is the type of arithmetic: f32, or f64 for f64.
namespace tern::batch_norm {

/// How the rows of one lane are cut: tiles stay in the L1 cache and bound the length of an f32 sum, blocks are a unit
/// of parallel work. Depends on the channels alone, never on the number of threads.
struct RowCut {
  int64_t rows, tile, block;

  RowCut(int64_t row_count, int64_t channels)
      : rows(row_count), tile(row_tile(channels)), block(tile * std::max<int64_t>(1, 16384 / (tile * channels))) {}
  int64_t blocks() const { return (rows + block - 1) / block; }
  int64_t begin(int64_t b) const { return b * block; }
  int64_t end(int64_t b) const { return std::min(rows, (b + 1) * block); }
};

/// Folds the moments of `n` further values into those of `before`: mean_b(c), and m2_b(c), the sum of squared
/// deviations. Ref: Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances
/// (1979).
template <class Mean, class SquaredDeviations>
void combine_moments(double* mean, double* m2, int64_t before, const Mean& mean_b, const SquaredDeviations& m2_b,
                     int64_t n, int64_t channels) {
  const double share = static_cast<double>(n) / static_cast<double>(before + n);
  const double weight = static_cast<double>(before) * share;
  TERN_INDEPENDENT
  for (int64_t c = 0; c < channels; ++c) {
    const double delta = mean_b(c) - mean[c];
    mean[c] += delta * share;
    m2[c] += m2_b(c) + delta * delta * weight;
  }
}

/// Mean and sum of squared deviations of `rows` rows. tile_mean and tile_m2 are scratch of `channels` elements.
template <class T, class Acc>
void block_moments(const T* x, int64_t rows, int64_t channels, int64_t tile, Acc* tile_mean, Acc* tile_m2, double* mean,
                   double* m2) {
  std::fill(mean, mean + channels, 0.0);
  std::fill(m2, m2 + channels, 0.0);
  for (int64_t begin = 0; begin < rows; begin += tile) {
    const int64_t count = std::min(tile, rows - begin);
    const T* xt = x + begin * channels;
    // Relative to the tile's first row: a mean far from zero then costs no accuracy. The tile is in the L1 cache for
    // the second look, so that squares are taken about the mean and do not cancel.
    const auto shifted = [=](int64_t r, int64_t c) {
      return static_cast<Acc>(xt[r * channels + c]) - static_cast<Acc>(xt[c]);
    };
    sum_rows(tile_mean, count, channels, shifted);
    const Acc inverse = Acc{1} / static_cast<Acc>(count);
    for (int64_t c = 0; c < channels; ++c) tile_mean[c] *= inverse;
    sum_rows(tile_m2, count, channels, [=](int64_t r, int64_t c) {
      const Acc d = shifted(r, c) - tile_mean[c];
      return d * d;
    });
    combine_moments(
        mean, m2, begin,
        [=](int64_t c) { return static_cast<double>(static_cast<Acc>(xt[c])) + static_cast<double>(tile_mean[c]); },
        [=](int64_t c) { return static_cast<double>(tile_m2[c]); }, count, channels);
  }
}

/// One lane's constants, an array of `channels` each.
template <class Acc>
struct Affine {
  Acc* mean;
  Acc* scale;  ///< gamma / sqrt(var + eps)
  Acc* beta;

  Acc operator()(Acc x, int64_t c) const { return (x - mean[c]) * scale[c] + beta[c]; }
};

/// NaN is not <= 0 and so passes.
template <class Acc>
Acc relu_of(Acc z) {
  return z <= Acc{0} ? Acc{0} : z;
}

template <bool kRelu, class T, class Acc>
void normalize_rows(const T* x, T* y, int64_t rows, int64_t channels, Affine<Acc> affine) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* xr = x + r * channels;
    T* yr = y + r * channels;
    TERN_INDEPENDENT
    for (int64_t c = 0; c < channels; ++c) {
      const Acc z = affine(static_cast<Acc>(xr[c]), c);
      yr[c] = static_cast<T>(kRelu ? relu_of(z) : z);
    }
  }
}

inline constexpr int64_t kBuffer = 1024;  // elements: so that a call of vector_math has enough to do

/// Calls f(z, count, at) for runs of the values z before the activation, as far as they are `count` neighbours from element `at` of
/// x on: z is rounded to T, as it would be between two ops, and lies in a buffer that f may write.
template <class T, class Acc, class F>
void for_normalized(const T* x, int64_t rows, int64_t channels, const Affine<Acc>& affine, const F& f) {
  Acc z[kBuffer];
  const int64_t columns = std::min(channels, kBuffer), together = channels <= kBuffer ? kBuffer / columns : 1;
  for (int64_t r = 0; r < rows; r += together) {
    for (int64_t first = 0; first < channels; first += columns) {
      const int64_t height = std::min(together, rows - r), width = std::min(columns, channels - first);
      for (int64_t i = 0; i < height; ++i) {
        const T* from = x + (r + i) * channels + first;
        TERN_INDEPENDENT
        for (int64_t c = 0; c < width; ++c)
          z[i * width + c] = static_cast<Acc>(static_cast<T>(affine(static_cast<Acc>(from[c]), first + c)));
      }
      f(z, height * width, r * channels + first);
    }
  }
}

/// y = gelu(normalised x).
template <class T, class Acc>
void gelu_rows(const T* x, T* y, int64_t rows, int64_t channels, const Affine<Acc>& affine) {
  for_normalized(x, rows, channels, affine, [=](Acc* z, int64_t count, int64_t at) {
    vector_math::gelu(z, z, count);
    for (int64_t i = 0; i < count; ++i) y[at + i] = static_cast<T>(z[i]);
  });
}

/// dz = dL/dz of the value z before the GELU.
template <class T, class Acc>
void gelu_grad_rows(const T* x, const T* dy, T* dz, int64_t rows, int64_t channels, const Affine<Acc>& affine) {
  for_normalized(x, rows, channels, affine, [=](Acc* z, int64_t count, int64_t at) {
    if constexpr (std::is_same_v<T, Acc>) {
      vector_math::gelu_backward(dy + at, z, dz + at, count);
    } else {
      Acc g[kBuffer];
      for (int64_t i = 0; i < count; ++i) g[i] = static_cast<Acc>(dy[at + i]);
      vector_math::gelu_backward(g, z, z, count);
      for (int64_t i = 0; i < count; ++i) dz[at + i] = static_cast<T>(z[i]);
    }
  });
}

/// dL/dz of the value before a ReLU, or before nothing. The mask is found again from x by the arithmetic of the forward pass: that
/// is cheaper than keeping y or a mask. With a 16-bit T the rounded y decides, as it would for a separate ReLU.
template <bool kRelu, class T, class Acc>
Acc masked(const T& x, const T& dy, const Affine<Acc>& affine, int64_t c) {
  const Acc g = static_cast<Acc>(dy);
  if constexpr (!kRelu) return g;
  const Acc z = static_cast<Acc>(static_cast<T>(affine(static_cast<Acc>(x), c)));
  return z <= Acc{0} ? Acc{0} : g;
}

/// sum_g[c] += sum of dz and sum_gx[c] += sum of dz * (x - mean), in f64 over f32 sums of a tile.
template <bool kRelu, class T, class Acc>
void block_grad_sums(const T* x, const T* dy, int64_t rows, int64_t channels, int64_t tile, Affine<Acc> affine,
                     Acc* tile_g, Acc* tile_gx, double* sum_g, double* sum_gx) {
  std::fill(sum_g, sum_g + channels, 0.0);
  std::fill(sum_gx, sum_gx + channels, 0.0);
  for (int64_t begin = 0; begin < rows; begin += tile) {
    const int64_t count = std::min(tile, rows - begin);
    const T* xt = x + begin * channels;
    const T* gt = dy + begin * channels;
    // The tile is in the L1 cache for the second sum.
    sum_rows(tile_g, count, channels, [=](int64_t r, int64_t c) {
      return masked<kRelu>(xt[r * channels + c], gt[r * channels + c], affine, c);
    });
    sum_rows(tile_gx, count, channels, [=](int64_t r, int64_t c) {
      const T& v = xt[r * channels + c];
      return masked<kRelu>(v, gt[r * channels + c], affine, c) * (static_cast<Acc>(v) - affine.mean[c]);
    });
    TERN_INDEPENDENT
    for (int64_t c = 0; c < channels; ++c) {
      sum_g[c] += static_cast<double>(tile_g[c]);
      sum_gx[c] += static_cast<double>(tile_gx[c]);
    }
  }
}

/// dx = scale * (dz - offset - (x - mean) * slope). offset is the mean of dz and slope the mean of dz * (x - mean) over
/// the variance; null where the statistics are constants.
template <bool kRelu, class T, class Acc>
void grad_rows(const T* x, const T* dy, T* dx, int64_t rows, int64_t channels, Affine<Acc> affine, const Acc* offset,
               const Acc* slope) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* xr = x + r * channels;
    const T* gr = dy + r * channels;
    T* out = dx + r * channels;
    if (offset == nullptr) {
      TERN_INDEPENDENT
      for (int64_t c = 0; c < channels; ++c)
        out[c] = static_cast<T>(affine.scale[c] * masked<kRelu>(xr[c], gr[c], affine, c));
      continue;
    }
    TERN_INDEPENDENT
    for (int64_t c = 0; c < channels; ++c) {
      const Acc centred = static_cast<Acc>(xr[c]) - affine.mean[c];
      out[c] =
          static_cast<T>(affine.scale[c] * ((masked<kRelu>(xr[c], gr[c], affine, c) - offset[c]) - centred * slope[c]));
    }
  }
}

}  // namespace tern::batch_norm
