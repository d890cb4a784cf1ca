#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "core/lanes.h"
#include "kernels/common/loops.h"
#include "kernels/common/parallel.h"
#include "kernels/common/scratch.h"
#include "kernels/conv2d/conv2d_f32.h"
#include "kernels/conv2d/wgrad_panel.h"
#include "kernels/conv2d/winograd_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/wgrad_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_WGRAD_F32_ONCE
#define TERN_WGRAD_F32_ONCE
namespace tern {

/// The weight gradient of every lane, in panels [lanes, groups, blocks, R, S, C/groups, width]: `width` filters lie
/// side by side, so that a register holds one weight of several filters.
struct WgradJob {
  ConvShape shape;         ///< with its filters' rows joined where joins_taps()
  int64_t x_channels = 0;  ///< from a pixel of x to its neighbour; fewer than shape.c where taps are joined
  Lanes lanes;
  const float* x = nullptr;
  const float* dy = nullptr;
  float* panels = nullptr;
  int64_t width = 0;
  /// Fewer filters than a tap has values of x, which fit into the width: then those lie side by side in the registers, and each filter is a row [.., K, width].
  bool turned = false;
  int64_t row_groups = 0;  ///< that the filters' rows are cut into; a group's rows are summed together, which takes turned filters
  int64_t tiles = 1;  ///< that a panel's rows are cut into
  int64_t chunk = 1;     ///< images whose pixels make one chain
  int64_t segments = 1;  ///< most that a lane's images are cut into, see segments_of()

  int64_t rows() const { return turned ? shape.k : shape.group_c(); }  ///< of a tap
  int64_t columns() const { return turned ? shape.c : shape.group_k(); }
  int64_t blocks() const { return (columns() + width - 1) / width; }
  int64_t panel() const { return shape.r * shape.s * rows() * width; }
  int64_t segment_floats() const { return shape.options.groups * blocks() * panel(); }
  int64_t lane_floats() const { return segments * segment_floats(); }
};

/// Some channel tiles of one tap of one block of filters, or of the taps of some neighbouring rows.
struct TapTiles {
  int64_t block = 0, r = 0, rows = 1, s = 0;
  int64_t first_tile = 0, last_tile = 0;
};

/// The pixels that meet one tap of the filter: strides are in floats.
struct PixelWalk {
  int64_t images = 0, rows = 0, cols = 0;
  int64_t x_image = 0, x_row = 0, x_col = 0;
  int64_t dy_image = 0, dy_row = 0, dy_col = 0;
};

}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {  // internal linkage: position-independent code would not inline across it

const hn::ScalableTag<float> kF32;
// Accumulators are kMaxChannels x 2 vectors; with two vectors of dy and a broadcast they fill 16 or 32 registers.
constexpr int kMaxChannels = HWY_TARGET == HWY_AVX2 ? 6 : 12;

constexpr int kMaxTurned = 8;  // filters
constexpr int kMaxRows = HWY_TARGET == HWY_AVX2 ? 2 : 4;

inline int64_t MaxChannels() { return kMaxChannels; }
/// Rows of filters that are summed together: their sums fill 16 or 32 registers.
inline int64_t RowsTogether(int64_t filters) {
  return std::clamp<int64_t>(2 * kMaxChannels / filters, 1, kMaxRows);
}
inline int64_t WgradLanes() { return static_cast<int64_t>(hn::Lanes(kF32)); }

/// Q channels of x against V vectors of filters, the last cut off by `mask` where kMasked: one chain over the pixels,
/// which replaces what is in the panel or is added to it.
template <int Q, int V, bool kMasked>
void Tile(const PixelWalk& walk, const float* x, const float* dy, int64_t valid, bool add, float* HWY_RESTRICT panel) {
  using Vec = hn::Vec<decltype(kF32)>;
  const int64_t lanes = WgradLanes();
  const auto mask = hn::FirstN(kF32, static_cast<size_t>(valid - (V - 1) * lanes));
  Vec sum[Q][V];
  TERN_UNROLL for (int i = 0; i < Q; ++i) TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::Zero(kF32);
  for (int64_t n = 0; n < walk.images; ++n) {
    for (int64_t p = 0; p < walk.rows; ++p) {
      const float* x_at = x + n * walk.x_image + p * walk.x_row;
      const float* dy_at = dy + n * walk.dy_image + p * walk.dy_row;
      for (int64_t q = 0; q < walk.cols; ++q, x_at += walk.x_col, dy_at += walk.dy_col) {
        Vec g[V];
        TERN_UNROLL for (int v = 0; v < V; ++v) {
          const float* at = dy_at + v * lanes;
          g[v] = kMasked && v == V - 1 ? hn::MaskedLoad(mask, kF32, at) : hn::LoadU(kF32, at);
        }
        TERN_UNROLL for (int i = 0; i < Q; ++i) {
          const Vec value = hn::Set(kF32, x_at[i]);
          TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(value, g[v], sum[i][v]);
        }
      }
    }
  }
  TERN_UNROLL for (int i = 0; i < Q; ++i) {
    TERN_UNROLL for (int v = 0; v < V; ++v) {
      float* to = panel + (i * 2 + v) * lanes;
      hn::Store(add ? hn::Add(hn::Load(kF32, to), sum[i][v]) : sum[i][v], kF32, to);
    }
  }
}

/// R rows of Q turned filters of at most one vector: each row's sums are the chains of a Tile of its own, but a value of dy is read once
/// for all of them, and more chains are under way at a time.
template <int R, int Q>
void TurnedRows(const PixelWalk& walk, const float* dy, const float* x, int64_t x_row, int64_t valid, bool add, float* HWY_RESTRICT panel,
                int64_t panel_row) {
  using Vec = hn::Vec<decltype(kF32)>;
  const int64_t lanes = WgradLanes();
  const auto mask = hn::FirstN(kF32, static_cast<size_t>(valid));
  Vec sum[R][Q];
  TERN_UNROLL for (int r = 0; r < R; ++r) TERN_UNROLL for (int i = 0; i < Q; ++i) sum[r][i] = hn::Zero(kF32);
  for (int64_t n = 0; n < walk.images; ++n) {
    for (int64_t p = 0; p < walk.rows; ++p) {
      const float* dy_at = dy + n * walk.x_image + p * walk.x_row;
      const float* x_at = x + n * walk.dy_image + p * walk.dy_row;
      for (int64_t q = 0; q < walk.cols; ++q, dy_at += walk.x_col, x_at += walk.dy_col) {
        Vec v[R];
        TERN_UNROLL for (int r = 0; r < R; ++r) v[r] = hn::MaskedLoad(mask, kF32, x_at + r * x_row);
        TERN_UNROLL for (int i = 0; i < Q; ++i) {
          const Vec value = hn::Set(kF32, dy_at[i]);
          TERN_UNROLL for (int r = 0; r < R; ++r) sum[r][i] = hn::MulAdd(value, v[r], sum[r][i]);
        }
      }
    }
  }
  TERN_UNROLL for (int r = 0; r < R; ++r) TERN_UNROLL for (int i = 0; i < Q; ++i) {
    float* to = panel + r * panel_row + i * 2 * lanes;
    hn::Store(add ? hn::Add(hn::Load(kF32, to), sum[r][i]) : sum[r][i], kF32, to);
  }
}

using TurnedFunction = void (*)(const PixelWalk&, const float*, const float*, int64_t, int64_t, bool, float*, int64_t);
template <int R, int... I>
constexpr std::array<TurnedFunction, kMaxTurned> MakeTurned(std::integer_sequence<int, I...>) {
  return {&TurnedRows<R, I + 1>...};
}
template <int... R>
constexpr std::array<std::array<TurnedFunction, kMaxTurned>, sizeof...(R)> MakeTurnedRows(std::integer_sequence<int, R...>) {
  return {MakeTurned<R + 1>(std::make_integer_sequence<int, kMaxTurned>())...};
}
constexpr auto kTurned = MakeTurnedRows(std::make_integer_sequence<int, kMaxRows>());

using TileFunction = void (*)(const PixelWalk&, const float*, const float*, int64_t, bool, float*);

template <int V, bool kMasked, int... I>
constexpr std::array<TileFunction, sizeof...(I)> MakeTiles(std::integer_sequence<int, I...>) {
  return {&Tile<I + 1, V, kMasked>...};
}
using Channels = std::make_integer_sequence<int, kMaxChannels>;
constexpr std::array<std::array<TileFunction, kMaxChannels>, 4> kTiles = {
    MakeTiles<1, false>(Channels()), MakeTiles<1, true>(Channels()), MakeTiles<2, false>(Channels()),
    MakeTiles<2, true>(Channels())};

/// The channel tiles [first_tile, last_tile) of one tap of one block of filters, over the images [begin, end).
void Tap(const WgradJob& job, const TapTiles& tap, int64_t begin, int64_t end, bool add, float* panel) {
  const ConvShape& c = job.shape;
  const Conv2d& o = c.options;
  const int64_t group = tap.block / job.blocks(), first_column = tap.block % job.blocks() * job.width;
  const int64_t valid = std::min(job.width, job.columns() - first_column), lanes = WgradLanes();
  const int64_t offset_h = tap.r * o.dilation.h - o.padding.h, offset_w = tap.s * o.dilation.w - o.padding.w;
  const ValidRange p = valid_outputs(c.p, c.h, o.stride.h, offset_h);
  const ValidRange q = valid_outputs(c.q, c.w, o.stride.w, offset_w);
  PixelWalk walk{.images = p.begin < p.end && q.begin < q.end ? end - begin : 0,
                       .rows = p.end - p.begin,
                       .cols = q.end - q.begin,
                       .x_image = c.h * c.w * job.x_channels,
                       .x_row = o.stride.h * c.w * job.x_channels,
                       .x_col = o.stride.w * job.x_channels,
                       .dy_image = c.p * c.q * c.k,
                       .dy_row = c.q * c.k,
                       .dy_col = c.k};
  const int64_t top = p.begin * o.stride.h + offset_h, left = q.begin * o.stride.w + offset_w;
  const float* x = job.x;
  const float* dy = job.dy;
  if (walk.images > 0) {
    x += begin * walk.x_image + (top * c.w + left) * job.x_channels + group * c.group_c();
    dy += begin * walk.dy_image + (p.begin * c.q + q.begin) * c.k + group * c.group_k();
  }
  if (job.turned) {
    std::swap(x, dy);
    std::swap(walk.x_image, walk.dy_image);
    std::swap(walk.x_row, walk.dy_row);
    std::swap(walk.x_col, walk.dy_col);
  }
  dy += first_column;
  if (job.row_groups > 0) {  // of turned filters: dy is x's place, and the other way round
    const int64_t x_row = o.dilation.h * c.w * job.x_channels;
    return kTurned[static_cast<size_t>(tap.rows - 1)][static_cast<size_t>(c.k - 1)](walk, x, dy, x_row, valid, add, panel, job.rows() * job.width);
  }
  const int vectors = valid <= lanes ? 1 : 2;
  const auto& tiles = kTiles[static_cast<size_t>(2 * (vectors - 1) + (valid == vectors * lanes ? 0 : 1))];
  for (int64_t tile = tap.first_tile; tile < tap.last_tile; ++tile) {
    const int64_t from = tile * job.rows() / job.tiles, to = (tile + 1) * job.rows() / job.tiles;
    tiles[static_cast<size_t>(to - from - 1)](walk, x + from, dy, valid, add, panel + from * job.width);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace {

HWY_EXPORT(WgradLanes);
HWY_EXPORT(MaxChannels);
HWY_EXPORT(RowsTogether);
HWY_EXPORT(Tap);

constexpr int64_t kMaxWidth = 32;      // no target's two vectors are wider
constexpr int64_t kChainPixels = 256;  // long enough to hide the panel's traffic, short enough to stay accurate

/// The taps of a filter's row and their channels are neighbours in x. With few channels they are taken as one tap of more channels, which
/// fills the registers; that wants rows of x with their padding.
bool joins_taps(const ConvShape& s) { return s.options.groups == 1 && s.options.dilation.w == 1 && s.c * s.s <= 32; }
int64_t padded_width(const ConvShape& s) { return s.w + 2 * s.options.padding.w; }
int64_t padded_floats(const ConvShape& s) { return joins_taps(s) && s.options.padding.w > 0 ? s.n * s.h * padded_width(s) * s.c : 0; }

/// Copies the rows of x [N,H,W,C] with zeros on both sides.
void pad_rows(const ConvShape& s, const float* x, float* padded, ThreadPool& pool) {
  const int64_t side = s.options.padding.w * s.c, row = s.w * s.c;
  pool.parallel_for(s.n, [&](int64_t n) {
    for (int64_t i = n * s.h; i < (n + 1) * s.h; ++i) {
      float* to = padded + i * (row + 2 * side);
      std::fill_n(to, side, 0.0F);
      std::copy_n(x + i * row, row, to + side);
      std::fill_n(to + side + row, side, 0.0F);
    }
  });
}

int64_t most_panel_floats(const ConvShape& s) {
  return s.options.groups * ((s.group_k() + kMaxWidth - 1) / kMaxWidth * kMaxWidth) * s.r * s.s * s.group_c();
}

/// Where filters are small, a lane of so many images is cut into segments, which are summed in the canonical tree: shares of work that
/// come out even for any number of threads, by shape alone.
int64_t segments_of(const ConvShape& s, int64_t images) {
  constexpr int64_t kMost = 8, kSmall = 1 << 13;
  return s.k * s.r * s.s * s.group_c() <= kSmall ? std::min(kMost, images) : 1;
}

/// The tiles [begin, end) of one lane's segment, numbered through all taps of all blocks. Images are outermost: they stay in the
/// second-level cache while every tap passes over them.
void run_tiles(const WgradJob& job, int64_t lane, int64_t segment, int64_t begin, int64_t end) {
  const int64_t tap_rows = job.row_groups > 0 ? job.row_groups : job.shape.r, taps = tap_rows * job.shape.s;
  const int64_t images = job.lanes.end(lane) - job.lanes.begin(lane), segments = segments_of(job.shape, images);
  if (segment >= segments) return;
  const int64_t first = job.lanes.begin(lane) + segment * images / segments, last = job.lanes.begin(lane) + (segment + 1) * images / segments;
  for (int64_t image = first; image < last; image += job.chunk) {
    TapTiles tap;
    for (int64_t i = begin; i < end; i += tap.last_tile - tap.first_tile) {
      const int64_t index = i / job.tiles, row = index % taps / job.shape.s;
      tap = {.block = index / taps, .r = row * job.shape.r / tap_rows, .s = index % job.shape.s, .first_tile = i % job.tiles};
      tap.rows = (row + 1) * job.shape.r / tap_rows - tap.r;
      tap.last_tile = std::min(job.tiles, tap.first_tile + end - i);
      const int64_t place = (tap.block * job.shape.r + tap.r) * job.shape.s + tap.s;
      float* panel = job.panels + lane * job.lane_floats() + segment * job.segment_floats() + place * job.rows() * job.width;
      HWY_DYNAMIC_DISPATCH(Tap)(job, tap, image, std::min(last, image + job.chunk), image != first, panel);
    }
  }
}

}  // namespace

void reduce_wgrad_panel(const WgradPanel& panel, int64_t filter, int64_t valid, float* dw) {
  tree_sum(panel.data, panel.lanes, panel.lane_floats, filter * panel.width);
  constexpr int64_t kPiece = 64;  // the piece of the panel stays in the first-level cache
  for (int64_t from = 0; from < filter; from += kPiece) {
    const int64_t until = std::min(filter, from + kPiece);
    for (int64_t k = 0; k < valid; ++k)
      for (int64_t i = from; i < until; ++i) dw[k * filter + i] = panel.data[i * panel.width + k];
  }
}

size_t conv2d_wgrad_f32_workspace(const ConvShape& shape, int64_t lane_size, int threads) {
  if (winograd_fits(shape)) return winograd_wgrad_f32_workspace(shape, lane_size, threads);
  const Lanes lanes{shape.n, lane_size};
  return scratch_bytes<float>(lanes.count() * segments_of(shape, lanes.end(0)) * most_panel_floats(shape)) + scratch_bytes<float>(padded_floats(shape));
}

void conv2d_wgrad_f32(const ConvShape& shape, int64_t lane_size, const float* x, const float* dy, float* dw,
                      std::span<std::byte> scratch, ThreadPool& all_threads) {
  ThreadPool& pool = pool_for(all_threads, conv_flops(shape));
  if (winograd_fits(shape)) return winograd_wgrad_f32(shape, lane_size, x, dy, dw, scratch, pool);
  WgradJob job{.shape = shape, .x_channels = shape.c, .lanes = {shape.n, lane_size}, .x = x, .dy = dy};
  job.width = 2 * HWY_DYNAMIC_DISPATCH(WgradLanes)();
  Scratch memory(scratch);
  job.segments = segments_of(shape, job.lanes.end(0));
  job.panels = memory.take<float>(job.lanes.count() * job.segments * most_panel_floats(shape));
  if (joins_taps(shape)) {
    if (padded_floats(shape) > 0) {
      float* padded = memory.take<float>(padded_floats(shape));
      pad_rows(shape, x, padded, pool);
      job.x = padded;
    }
    job.shape.w = padded_width(shape);
    job.shape.options.padding.w = 0;
    job.shape.c = shape.s * shape.c;
    job.shape.s = 1;
    job.turned = shape.k <= 8 && job.shape.c >= 8 && job.shape.c <= job.width;  // the sums are the same either way
  }
  const int64_t most = HWY_DYNAMIC_DISPATCH(MaxChannels)();
  job.tiles = (job.rows() + most - 1) / most;
  // Without padding above and below, all rows of filters meet the same pixels of dy.
  if (job.turned && job.shape.c <= job.width / 2 && shape.options.padding.h == 0) {
    const int64_t together = HWY_DYNAMIC_DISPATCH(RowsTogether)(shape.k);
    job.row_groups = (shape.r + together - 1) / together;
    job.tiles = 1;
  }
  job.chunk = std::max<int64_t>(1, kChainPixels / (shape.p * shape.q));

  // As few parts as keep all threads busy: each part reads all of its lane's pictures.
  const int64_t blocks = shape.options.groups * job.blocks(), tap_rows = job.row_groups > 0 ? job.row_groups : shape.r;
  const int64_t tiles = blocks * tap_rows * job.shape.s * job.tiles;
  const int64_t lanes = job.lanes.count();
  const int64_t shares = lanes * job.segments;
  const int64_t parts = std::min<int64_t>(tiles, pool.threads() / std::gcd<int64_t>(pool.threads(), shares));
  pool.parallel_for(shares * parts, [&](int64_t task) {
    const int64_t part = task % parts, share = task / parts;
    run_tiles(job, share / job.segments, share % job.segments, part * tiles / parts, (part + 1) * tiles / parts);
  });
  if (job.segments > 1)
    pool.parallel_for(lanes, [&](int64_t lane) {
      const int64_t images = job.lanes.end(lane) - job.lanes.begin(lane);
      tree_sum(job.panels + lane * job.lane_floats(), segments_of(shape, images), job.segment_floats(), job.segment_floats());
    });
  if (job.turned) {
    tree_sum(job.panels, lanes, job.lane_floats(), job.panel());
    const int64_t row = job.shape.c;  // of a filter
    for (int64_t k = 0; k < shape.k; ++k)
      for (int64_t r = 0; r < shape.r; ++r) std::copy_n(job.panels + (r * shape.k + k) * job.width, row, dw + (k * shape.r + r) * row);
    return;
  }
  const int64_t filter = shape.r * shape.s * shape.group_c();
  pool.parallel_for(blocks, [&](int64_t block) {
    const int64_t first = block % job.blocks() * job.width;
    reduce_wgrad_panel({job.panels + block * job.panel(), lanes, job.lane_floats(), job.width}, filter, std::min(job.width, shape.group_k() - first),
                       dw + (block / job.blocks() * shape.group_k() + first) * filter);
  });
}

}  // namespace tern
#endif
