#include "kernels/conv2d/correlate_f32.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/correlate_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_CORRELATE_F32_ONCE
#define TERN_CORRELATE_F32_ONCE
namespace tern {

/// The part of the source that a band of result rows reads: the source itself, or a copy with zeros around it.
struct SourceWindow {
  const float* origin = nullptr;  ///< where the first result pixel of the band has its first tap
  int64_t row_stride = 0;         ///< floats
};

/// Offsets, in floats, from a pixel's first tap to the others. Values of one run lie one after another.
struct TapOffsets {
  int64_t rows = 0, row_step = 0;
  int64_t cols = 0, col_step = 0;
  int64_t run = 0;
};

/// The bands that the rows of every image are cut into: the tasks of correlate_f32.
struct Bands {
  int64_t count = 1, rows = 0;
};

}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kF32;
// Accumulators are kMaxPixels x 2 vectors; with the two weights and a broadcast they fill 16 or 32 registers.
constexpr int kMaxPixels = HWY_TARGET == HWY_AVX2 ? 6 : 12;

int64_t VectorLanes() { return static_cast<int64_t>(hn::Lanes(kF32)); }

/// Q pixels x V vectors of result channels. Every element is one chain over the taps in order.
template <int Q, int V>
void Block(const float* const* pixels, const TapOffsets& taps, const float* HWY_RESTRICT weights, const float* start,
           float* const* results, int64_t valid) {
  using Vec = hn::Vec<decltype(kF32)>;
  const int64_t lanes = VectorLanes();
  Vec sum[Q][V];
  for (int i = 0; i < Q; ++i)
    for (int v = 0; v < V; ++v) sum[i][v] = hn::LoadU(kF32, start + v * lanes);
  for (int64_t r = 0; r < taps.rows; ++r) {
    for (int64_t s = 0; s < taps.cols; ++s) {
      const int64_t offset = r * taps.row_step + s * taps.col_step;
      const float* at[Q];
      for (int i = 0; i < Q; ++i) at[i] = pixels[i] + offset;
      for (int64_t c = 0; c < taps.run; ++c) {
        Vec w[V];
        for (int v = 0; v < V; ++v) w[v] = hn::Load(kF32, weights + v * lanes);
        weights += 2 * lanes;
        for (int i = 0; i < Q; ++i) {
          const Vec x = hn::Set(kF32, at[i][c]);
          for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(x, w[v], sum[i][v]);
        }
      }
    }
  }
  if (valid == V * lanes) {
    for (int i = 0; i < Q; ++i)
      for (int v = 0; v < V; ++v) hn::StoreU(sum[i][v], kF32, results[i] + v * lanes);
  } else {
    const auto mask = hn::FirstN(kF32, static_cast<size_t>(valid - (V - 1) * lanes));
    for (int i = 0; i < Q; ++i) {
      for (int v = 0; v + 1 < V; ++v) hn::StoreU(sum[i][v], kF32, results[i] + v * lanes);
      hn::BlendedStore(sum[i][V - 1], mask, kF32, results[i] + (V - 1) * lanes);
    }
  }
}

using BlockFunction = void (*)(const float* const*, const TapOffsets&, const float*, const float*, float* const*, int64_t);

template <int V, int... I>
constexpr std::array<BlockFunction, sizeof...(I)> MakeBlocks(std::integer_sequence<int, I...>) {
  return {&Block<I + 1, V>...};
}
constexpr auto kBlocks1 = MakeBlocks<1>(std::make_integer_sequence<int, kMaxPixels>());
constexpr auto kBlocks2 = MakeBlocks<2>(std::make_integer_sequence<int, kMaxPixels>());

/// All channels of the result rows [begin, end) of one image.
void Band(const Correlation& job, const SourceWindow& window, int64_t image, int64_t begin, int64_t end) {
  const int64_t channels = job.source_c(), lanes = VectorLanes(), width = 2 * lanes;
  const int64_t blocks = (job.group_out + width - 1) / width;
  const bool joined = job.groups == 1 && job.cols.offset_step == 1;  // taps of a row are neighbours in memory
  const TapOffsets taps{.rows = job.rows.taps,
                        .row_step = job.rows.offset_step * window.row_stride,
                        .cols = joined ? std::min<int64_t>(1, job.cols.taps) : job.cols.taps,
                        .col_step = job.cols.offset_step * channels,
                        .run = joined ? job.cols.taps * channels : job.group_in};
  const int64_t panel = job.rows.taps * job.cols.taps * job.group_in * width;
  const int64_t pixels = (end - begin) * job.cols.count;
  const int64_t tiles = (pixels + kMaxPixels - 1) / kMaxPixels;
  float* image_result = job.result + image * job.result_h * job.result_w * job.result_c();

  for (int64_t b = 0; b < job.groups * blocks; ++b) {
    const int64_t group = b / blocks, first_out = b % blocks * width;
    const int64_t valid = std::min(width, job.group_out - first_out);
    const float* source = window.origin + group * job.group_in;
    float* result = image_result + group * job.group_out + first_out;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t from = tile * pixels / tiles, to = (tile + 1) * pixels / tiles;  // evenly filled tiles
      const float* at[kMaxPixels];
      float* out[kMaxPixels];
      int64_t i = from / job.cols.count, j = from % job.cols.count;
      for (int64_t pixel = 0; pixel < to - from; ++pixel) {
        at[pixel] = source + i * job.rows.stride * window.row_stride + j * job.cols.stride * channels;
        const int64_t row = job.rows.first + (begin + i) * job.rows.spacing;
        const int64_t col = job.cols.first + j * job.cols.spacing;
        out[pixel] = result + (row * job.result_w + col) * job.result_c();
        if (++j == job.cols.count) j = 0, ++i;
      }
      const auto& functions = valid <= lanes ? kBlocks1 : kBlocks2;
      functions[static_cast<size_t>(to - from - 1)](at, taps, job.weights + b * panel, job.start + b * width, out, valid);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace {

HWY_EXPORT(VectorLanes);
HWY_EXPORT(Band);

// A window, the weights of one block and the results should fit into half of a 1 MB second-level cache.
constexpr int64_t kWindowFloats = 1 << 16;

int64_t window_rows(const Correlation& job, int64_t rows) {
  return (rows - 1) * job.rows.stride + std::max<int64_t>(0, job.rows.taps - 1) * job.rows.offset_step + 1;
}
int64_t window_cols(const Correlation& job) {
  return (job.cols.count - 1) * job.cols.stride + std::max<int64_t>(0, job.cols.taps - 1) * job.cols.offset_step + 1;
}

Bands bands_of(const Correlation& job, int threads) {
  const int64_t floats = window_rows(job, job.rows.count) * window_cols(job) * job.source_c();
  const int64_t wanted = std::max((floats + kWindowFloats - 1) / kWindowFloats, (4 * threads + job.images - 1) / job.images);
  const int64_t count = std::clamp<int64_t>(threads == 1 && floats <= kWindowFloats ? 1 : wanted, 1, job.rows.count);
  const int64_t rows = (job.rows.count + count - 1) / count;
  return {(job.rows.count + rows - 1) / rows, rows};
}

int64_t window_floats(const Correlation& job, const Bands& bands) {
  const int64_t floats = window_rows(job, bands.rows) * window_cols(job) * job.source_c();
  return (floats + 15) / 16 * 16;
}

/// Copies the source pixels of rows [row, row + rows) and columns [col, col + cols) of an image, zeros outside it.
void copy_window(const Correlation& job, const float* image, int64_t row, int64_t col, int64_t rows, int64_t cols,
                 float* to) {
  const int64_t channels = job.source_c();
  const int64_t left = std::clamp<int64_t>(-col, 0, cols);
  const int64_t right = std::clamp<int64_t>(job.source_w - col, left, cols);
  for (int64_t i = row; i < row + rows; ++i, to += cols * channels) {
    if (i < 0 || i >= job.source_h) {
      std::fill_n(to, cols * channels, 0.0f);
      continue;
    }
    std::fill_n(to, left * channels, 0.0f);
    std::copy_n(image + (i * job.source_w + col + left) * channels, (right - left) * channels, to + left * channels);
    std::fill_n(to + right * channels, (cols - right) * channels, 0.0f);
  }
}

SourceWindow window_of(const Correlation& job, int64_t image, int64_t begin, int64_t end, float* buffer) {
  const int64_t channels = job.source_c();
  const float* source = job.source + image * job.source_h * job.source_w * channels;
  if (job.rows.taps == 0 || job.cols.taps == 0) return {source, 0};  // nothing will be read
  const int64_t row = job.rows.lowest(begin), col = job.cols.lowest(0);
  const bool inside = row >= 0 && job.rows.highest(end - 1) < job.source_h && col >= 0 &&
                      job.cols.highest(job.cols.count - 1) < job.source_w;
  if (inside) return {source + (row * job.source_w + col) * channels, job.source_w * channels};
  const int64_t cols = window_cols(job);
  copy_window(job, source, row, col, window_rows(job, end - begin), cols, buffer);
  return {buffer, cols * channels};
}

}  // namespace

int64_t correlate_block() { return 2 * HWY_DYNAMIC_DISPATCH(VectorLanes)(); }

int64_t correlate_workspace(const Correlation& job, int threads) {
  if (job.rows.count == 0 || job.cols.count == 0) return 0;
  return window_floats(job, bands_of(job, threads)) * threads;
}

void correlate_f32(const Correlation& job, float* scratch, ThreadPool& pool) {
  if (job.rows.count == 0 || job.cols.count == 0) return;
  const Bands bands = bands_of(job, pool.threads());
  const int64_t window_size = window_floats(job, bands);
  pool.parallel_for(job.images * bands.count, [&](int64_t task, int slot) {
    const int64_t image = task / bands.count, begin = task % bands.count * bands.rows;
    const int64_t end = std::min(job.rows.count, begin + bands.rows);
    const SourceWindow window = window_of(job, image, begin, end, scratch + slot * window_size);
    HWY_DYNAMIC_DISPATCH(Band)(job, window, image, begin, end);
  });
}

}  // namespace tern
#endif
