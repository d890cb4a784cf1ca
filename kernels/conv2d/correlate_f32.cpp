#include "kernels/conv2d/correlate_f32.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/correlate_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_CORRELATE_F32_ONCE
#define TERN_CORRELATE_F32_ONCE
namespace tern {

/// Floats between a pixel's taps, and between the weights that meet them. Values of one run lie one after another.
struct TapSteps {
  int64_t rows = 0, row_step = 0;
  int64_t cols = 0, col_step = 0;
  int64_t run = 0;
  int64_t weight_gap = 0;  ///< weights to pass over after a row of taps
};

/// What one task computes: rows [begin, end) of some neighbouring images.
struct Band {
  int64_t first_image = 0, images = 0;
  int64_t begin = 0, end = 0;
};

}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {  // internal linkage: position-independent code would not inline across it

const hn::ScalableTag<float> kF32;
// Accumulators are kMaxPixels x 2 vectors; with the two weights and a broadcast they fill 16 or 32 registers.
constexpr int kMaxPixels = HWY_TARGET == HWY_AVX2 ? 6 : 12;
// Products summed in registers before they are added to the element's total: the rounding error grows with the root of
// kChain + taps / kChain instead of taps, at a cost of two to three in a hundred instructions.
constexpr int64_t kChain = 96;

inline int64_t VectorLanes() { return static_cast<int64_t>(hn::Lanes(kF32)); }

/// Q pixels x V vectors of result channels. Every element is the same sum over the taps in order: chains of kChain
/// products or a little more, cut where the taps alone say. kOneChain: there are too few taps for a second one.
template <int Q, int V, bool kOneChain>
void Block(const float* const* pixels, const TapSteps& taps, const float* HWY_RESTRICT weights, const float* start,
           float* const* results, int64_t valid) {
  using Vec = hn::Vec<decltype(kF32)>;
  const int64_t lanes = VectorLanes();
  Vec sum[Q][V], total[Q][V];
  TERN_UNROLL for (int i = 0; i < Q; ++i) TERN_UNROLL for (int v = 0; v < V; ++v) {
    sum[i][v] = hn::Zero(kF32);
    if constexpr (!kOneChain) total[i][v] = hn::LoadU(kF32, start + v * lanes);
  }
  int64_t chain = 0;
  for (int64_t r = 0; r < taps.rows; ++r) {
    for (int64_t s = 0; s < taps.cols; ++s) {
      const int64_t offset = r * taps.row_step + s * taps.col_step;
      const float* at[Q];
      TERN_UNROLL for (int i = 0; i < Q; ++i) at[i] = pixels[i] + offset;
      for (int64_t c = 0; c < taps.run;) {
        const int64_t end = std::min(taps.run, c + kChain);
        chain += end - c;
        for (; c < end; ++c) {
          Vec w[V];
          TERN_UNROLL for (int v = 0; v < V; ++v) w[v] = hn::Load(kF32, weights + v * lanes);
          weights += 2 * lanes;
          TERN_UNROLL for (int i = 0; i < Q; ++i) {
            const Vec x = hn::Set(kF32, at[i][c]);
            TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(x, w[v], sum[i][v]);
          }
        }
        if (kOneChain || chain < kChain) continue;
        chain = 0;
        TERN_UNROLL for (int i = 0; i < Q; ++i) TERN_UNROLL for (int v = 0; v < V; ++v) {
          total[i][v] = hn::Add(total[i][v], sum[i][v]);
          sum[i][v] = hn::Zero(kF32);
        }
      }
    }
    weights += taps.weight_gap;
  }
  TERN_UNROLL for (int v = 0; v < V; ++v) {
    const Vec first = hn::LoadU(kF32, start + v * lanes);
    TERN_UNROLL for (int i = 0; i < Q; ++i) sum[i][v] = hn::Add(kOneChain ? first : total[i][v], sum[i][v]);
  }
  if (valid == V * lanes) {
    TERN_UNROLL for (int i = 0; i < Q; ++i) TERN_UNROLL for (int v = 0; v < V; ++v)
        hn::StoreU(sum[i][v], kF32, results[i] + v * lanes);
  } else {
    const auto mask = hn::FirstN(kF32, static_cast<size_t>(valid - (V - 1) * lanes));
    TERN_UNROLL for (int i = 0; i < Q; ++i) {
      TERN_UNROLL for (int v = 0; v + 1 < V; ++v) hn::StoreU(sum[i][v], kF32, results[i] + v * lanes);
      hn::BlendedStore(sum[i][V - 1], mask, kF32, results[i] + (V - 1) * lanes);
    }
  }
}

using BlockFunction = void (*)(const float* const*, const TapSteps&, const float*, const float*, float* const*,
                               int64_t);

template <int V, bool kOneChain, int... I>
constexpr std::array<BlockFunction, sizeof...(I)> MakeBlocks(std::integer_sequence<int, I...>) {
  return {&Block<I + 1, V, kOneChain>...};
}
using PixelCounts = std::make_integer_sequence<int, kMaxPixels>;
constexpr std::array<std::array<BlockFunction, kMaxPixels>, 4> kBlocks = {
    MakeBlocks<1, false>(PixelCounts()), MakeBlocks<1, true>(PixelCounts()), MakeBlocks<2, false>(PixelCounts()),
    MakeBlocks<2, true>(PixelCounts())};

/// Block `b` of the result channels of a rectangle of pixels in every image of the band. All of them read the same
/// taps, none from padding.
void Rectangle(const Correlation& job, const Band& band, const AxisRun& rows, const AxisRun& cols, int64_t b) {
  const int64_t channels = job.source_c(), width = 2 * VectorLanes();
  const int64_t blocks = (job.group_out + width - 1) / width;
  const int64_t group = b / blocks, first_out = b % blocks * width;
  const int64_t valid = std::min(width, job.group_out - first_out);
  const bool joined = job.groups == 1 && job.cols.offset_step == 1;  // taps of a row are neighbours in memory
  const int64_t tap_weights = job.group_in * width, row_weights = job.cols.taps * tap_weights;
  const TapSteps taps{.rows = cols.taps == 0 ? 0 : rows.taps,
                      .row_step = job.rows.offset_step * job.source_w * channels,
                      .cols = joined ? 1 : cols.taps,
                      .col_step = job.cols.offset_step * channels,
                      .run = joined ? cols.taps * channels : job.group_in,
                      .weight_gap = row_weights - cols.taps * tap_weights};
  const float* weights =
      job.weights + b * job.rows.taps * row_weights + rows.first_tap * row_weights + cols.first_tap * tap_weights;

  const int64_t top = job.rows.offset + rows.first_tap * job.rows.offset_step;
  const int64_t left = job.cols.offset + cols.first_tap * job.cols.offset_step;
  const int64_t height = rows.end - rows.begin, length = cols.end - cols.begin;
  const int64_t pixels = band.images * height * length;
  const int64_t tiles = (pixels + kMaxPixels - 1) / kMaxPixels;
  const int64_t source_step = job.cols.stride * channels, result_step = job.cols.spacing * job.result_c();
  int64_t n = band.first_image, i = rows.begin, j = cols.end;  // the walk over the pixels: the next one begins a row
  const float* source = nullptr;
  float* result = nullptr;
  const auto begin_row = [&] {
    const int64_t h = i * job.rows.stride + top, w = cols.begin * job.cols.stride + left;
    source = job.source + ((n * job.source_h + h) * job.source_w + w) * channels + group * job.group_in;
    const int64_t p = job.rows.first + i * job.rows.spacing, q = job.cols.first + cols.begin * job.cols.spacing;
    result = job.result + ((n * job.result_h + p) * job.result_w + q) * job.result_c() + group * job.group_out + first_out;
    j = cols.begin;
    if (++i == rows.end) i = rows.begin, ++n;
  };
  const bool one_chain = taps.rows * taps.cols * taps.run < kChain;
  const auto& functions = kBlocks[(valid <= VectorLanes() ? 0 : 2) + (one_chain ? 1 : 0)];
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t count = (tile + 1) * pixels / tiles - tile * pixels / tiles;  // evenly filled tiles
    const float* at[kMaxPixels];
    float* out[kMaxPixels];
    for (int64_t pixel = 0; pixel < count; ++pixel, ++j) {
      if (j == cols.end) begin_row();
      at[pixel] = source;
      out[pixel] = result;
      source += source_step;
      result += result_step;
    }
    functions[static_cast<size_t>(count - 1)](at, taps, weights, job.start + b * width, out, valid);
  }
}

/// All channels of a band. One block's weights at a time: they are read again for every tile of pixels.
void RunBand(const Correlation& job, const Band& band) {
  const int64_t width = 2 * VectorLanes();
  const int64_t blocks = job.groups * ((job.group_out + width - 1) / width);
  for (int64_t b = 0; b < blocks; ++b) {
    for (AxisRun rows{.end = band.begin}; rows.end < band.end;) {
      rows = run_at(job.rows, job.source_h, rows.end, band.end);
      for (AxisRun cols; cols.end < job.cols.count;) {
        cols = run_at(job.cols, job.source_w, cols.end, job.cols.count);
        Rectangle(job, band, rows, cols, b);
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace {

HWY_EXPORT(VectorLanes);
HWY_EXPORT(RunBand);

// The source of a band, a block's weights and its results should fit into a second-level cache of 1 MB.
constexpr int64_t kBandFloats = 1 << 16;

}  // namespace

int64_t correlate_block() { return 2 * HWY_DYNAMIC_DISPATCH(VectorLanes)(); }

void correlate_f32(const Correlation& job, ThreadPool& pool) {
  const int64_t rows = job.rows.count;
  if (rows == 0 || job.cols.count == 0) return;
  // Several images a band, for more pixels beside the picture's edges that can share a tile, or several bands an image.
  const int64_t image_floats = job.source_h * job.source_w * job.source_c();
  const int64_t tasks = 4 * pool.threads();
  const int64_t images = std::clamp<int64_t>(std::min(kBandFloats / image_floats, job.images / tasks), 1, job.images);
  const int64_t pieces = std::max(image_floats / kBandFloats, images > 1 ? 1 : tasks / job.images);
  const int64_t height = (rows + std::clamp<int64_t>(pieces, 1, rows) - 1) / std::clamp<int64_t>(pieces, 1, rows);
  const int64_t bands = (rows + height - 1) / height, groups = (job.images + images - 1) / images;
  pool.parallel_for(groups * bands, [&](int64_t task) {
    const int64_t first = task / bands * images, begin = task % bands * height;
    HWY_DYNAMIC_DISPATCH(RunBand)
    (job, {first, std::min(images, job.images - first), begin, std::min(rows, begin + height)});
  });
}

}  // namespace tern
#endif
