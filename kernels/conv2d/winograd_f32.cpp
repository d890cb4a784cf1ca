#include "kernels/conv2d/winograd_f32.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "core/lanes.h"
#include "kernels/common/loops.h"
#include "kernels/common/scratch.h"
#include "kernels/conv2d/wgrad_panel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/winograd_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_WINOGRAD_F32_ONCE
#define TERN_WINOGRAD_F32_ONCE
namespace tern {

constexpr int64_t kPositions = 16;  // of a transformed tile

/// Pictures in tiles of 2x2 results (or of dy), numbered through rows, columns, pictures.
struct TileGrid {
  int64_t rows = 0, cols = 0;      ///< of tiles in a picture
  int64_t result_h = 0, result_w = 0;

  static TileGrid of(int64_t h, int64_t w) { return {(h + 1) / 2, (w + 1) / 2, h, w}; }
  int64_t a_picture() const { return rows * cols; }

  /// Where tile number `tile` lies: its picture, and its first result's row and column.
  struct Place {
    int64_t n, i, j;
  };
  Place at(int64_t tile) const { return {tile / a_picture(), 2 * (tile % a_picture() / cols), 2 * (tile % cols)}; }
};

/// A picture tensor [N, h, w, c]; what lies outside it is zero.
struct Picture {
  const float* data = nullptr;
  int64_t h = 0, w = 0, c = 0;
};

/// Transformed tiles: [positions][tiles][width], a position's plane `plane` floats behind the one before.
struct Planes {
  float* data = nullptr;
  int64_t width = 0, plane = 0;

  /// Planes lie a cache line apart modulo the cache's ways: sixteen streams in step would fall into one set otherwise.
  static int64_t plane_floats(int64_t tiles, int64_t width) { return tiles * width + 16; }
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
constexpr int kMaxRows = HWY_TARGET == HWY_AVX2 ? 6 : 12;  // with two vectors each they fill the registers, as in correlate_f32

inline int64_t VectorLanes() { return static_cast<int64_t>(hn::Lanes(kF32)); }
inline int64_t MaxRows() { return kMaxRows; }

/// Products summed in registers before they join the total in memory.
constexpr int64_t kChain = 64;

/// Rows i < Q of y [Q][2 vectors] (+)= sum over steps of x[i] * w [steps][2 vectors]. kNeighbours: x's rows are neighbours in memory and
/// its steps lie `x_step` floats apart; otherwise steps are neighbours and rows lie `x_step` apart.
template <int Q, int V, bool kNeighbours>
void Product(const float* x, int64_t x_step, const float* HWY_RESTRICT w, int64_t steps, bool add, float* HWY_RESTRICT y) {
  const int64_t lanes = VectorLanes();
  Vec sum[Q][V];
  const float* at[Q];
  TERN_UNROLL for (int i = 0; i < Q; ++i) at[i] = kNeighbours ? x + i : x + i * x_step;
  for (int64_t first = 0; first < steps; first += kChain) {
    TERN_UNROLL for (int i = 0; i < Q; ++i) TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::Zero(kF32);
    const int64_t end = std::min(steps, first + kChain);
    for (int64_t step = first; step < end; ++step, w += 2 * lanes) {
      Vec weight[V];
      TERN_UNROLL for (int v = 0; v < V; ++v) weight[v] = hn::Load(kF32, w + v * lanes);
      TERN_UNROLL for (int i = 0; i < Q; ++i) {
        const Vec value = hn::Set(kF32, kNeighbours ? x[step * x_step + i] : at[i][step]);
        TERN_UNROLL for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(value, weight[v], sum[i][v]);
      }
    }
    TERN_UNROLL for (int i = 0; i < Q; ++i) TERN_UNROLL for (int v = 0; v < V; ++v) {
      float* to = y + (i * 2 + v) * lanes;
      hn::Store(add ? hn::Add(hn::Load(kF32, to), sum[i][v]) : sum[i][v], kF32, to);
    }
    add = true;
  }
}

using ProductFunction = void (*)(const float*, int64_t, const float*, int64_t, bool, float*);
template <int V, bool kNeighbours, int... I>
constexpr std::array<ProductFunction, sizeof...(I)> MakeProducts(std::integer_sequence<int, I...>) {
  return {&Product<I + 1, V, kNeighbours>...};
}
using Rows = std::make_integer_sequence<int, kMaxRows>;
constexpr std::array<std::array<ProductFunction, kMaxRows>, 2> kAcross = {MakeProducts<1, false>(Rows()), MakeProducts<2, false>(Rows())};
constexpr std::array<std::array<ProductFunction, kMaxRows>, 2> kAlong = {MakeProducts<1, true>(Rows()), MakeProducts<2, true>(Rows())};

/// B^T d of four values.
HWY_INLINE void InputRow(const Vec& d0, const Vec& d1, const Vec& d2, const Vec& d3, Vec (&to)[4]) {
  to[0] = hn::Sub(d0, d2);
  to[1] = hn::Add(d1, d2);
  to[2] = hn::Sub(d2, d1);
  to[3] = hn::Sub(d1, d3);
}

/// The `count` channels from `from` on of a tile's pixels, as pointers; pixels outside are `zeros`.
template <int kSide>
void TilePixels(const Picture& picture, int64_t n, int64_t top, int64_t left, const float* zeros, const float* (&at)[kSide][kSide]) {
  for (int r = 0; r < kSide; ++r)
    for (int s = 0; s < kSide; ++s) {
      const int64_t y = top + r, x = left + s;
      const bool inside = y >= 0 && y < picture.h && x >= 0 && x < picture.w;
      at[r][s] = inside ? picture.data + ((n * picture.h + y) * picture.w + x) * picture.c : zeros;
    }
}

/// B^T d B of tiles [first, first + count), positions of rows [row_begin, row_end), of `channels` channels from `channel` on. Planes are as
/// wide as whole vectors of them.
void TransformInput(const Picture& picture, const TileGrid& grid, int64_t offset_h, int64_t offset_w, int64_t first, int64_t count, int row_begin, int row_end,
                    const float* zeros, const Planes& planes) {
  const int64_t lanes = VectorLanes();
  for (int64_t t = 0; t < count; ++t) {
    const auto [n, i, j] = grid.at(first + t);
    const float* at[4][4];
    TilePixels<4>(picture, n, i + offset_h, j + offset_w, zeros, at);
    for (int64_t c = 0; c < picture.c; c += lanes) {
      const size_t left = static_cast<size_t>(picture.c - c);
      Vec d[4][4];
      if (left >= static_cast<size_t>(lanes)) {
        TERN_UNROLL for (int r = 0; r < 4; ++r) TERN_UNROLL for (int s = 0; s < 4; ++s) d[r][s] = hn::LoadU(kF32, at[r][s] + c);
      } else {
        const auto mask = hn::FirstN(kF32, left);
        TERN_UNROLL for (int r = 0; r < 4; ++r) TERN_UNROLL for (int s = 0; s < 4; ++s) d[r][s] = hn::MaskedLoad(mask, kF32, at[r][s] + c);
      }
      Vec e[4][4];
      TERN_UNROLL for (int s = 0; s < 4; ++s) {
        Vec column[4];
        InputRow(d[0][s], d[1][s], d[2][s], d[3][s], column);
        TERN_UNROLL for (int r = 0; r < 4; ++r) e[r][s] = column[r];
      }
      float* to = planes.data + t * planes.width + c;
      TERN_UNROLL for (int r = 0; r < 4; ++r) {
        if (r < row_begin || r >= row_end) continue;
        Vec row[4];
        InputRow(e[r][0], e[r][1], e[r][2], e[r][3], row);
        TERN_UNROLL for (int s = 0; s < 4; ++s) hn::Store(row[s], kF32, to + (r * 4 + s) * planes.plane);
      }
    }
  }
}

/// A dy A^T of tiles of 2x2, of the channels [channel, channel + valid), in planes 2 vectors wide, zeros after `valid`.
void TransformGradient(const Picture& picture, const TileGrid& grid, int64_t first, int64_t count, int row_begin, int row_end, int64_t channel, int64_t valid,
                       const float* zeros, const Planes& planes) {
  const int64_t lanes = VectorLanes();
  for (int64_t t = 0; t < count; ++t) {
    const auto [n, i, j] = grid.at(first + t);
    const float* at[2][2];
    TilePixels<2>(picture, n, i, j, zeros, at);
    for (int64_t c = 0; c < 2 * lanes; c += lanes) {
      const int64_t left = std::clamp<int64_t>(valid - c, 0, lanes);
      const auto mask = hn::FirstN(kF32, static_cast<size_t>(left));
      Vec g[2][2];
      TERN_UNROLL for (int r = 0; r < 2; ++r) TERN_UNROLL for (int s = 0; s < 2; ++s) {
        const float* from = at[r][s] == zeros ? zeros : at[r][s] + channel + c;
        g[r][s] = left == lanes ? hn::LoadU(kF32, from) : left == 0 ? hn::Zero(kF32) : hn::MaskedLoad(mask, kF32, from);
      }
      Vec e[4][2];
      TERN_UNROLL for (int s = 0; s < 2; ++s) {
        e[0][s] = g[0][s];
        e[1][s] = hn::Add(g[0][s], g[1][s]);
        e[2][s] = hn::Sub(g[0][s], g[1][s]);
        e[3][s] = hn::Neg(g[1][s]);
      }
      float* to = planes.data + t * planes.width + c;
      TERN_UNROLL for (int r = 0; r < 4; ++r) {
        if (r < row_begin || r >= row_end) continue;
        float* row = to + r * 4 * planes.plane;
        hn::Store(e[r][0], kF32, row);
        hn::Store(hn::Add(e[r][0], e[r][1]), kF32, row + planes.plane);
        hn::Store(hn::Sub(e[r][0], e[r][1]), kF32, row + 2 * planes.plane);
        hn::Store(hn::Neg(e[r][1]), kF32, row + 3 * planes.plane);
      }
    }
  }
}

/// result = A^T m A + bias, of tiles [first, first + count) and the channels [channel, channel + valid).
void TransformOutput(const Planes& planes, const Correlation& job, const TileGrid& grid, int64_t first, int64_t count, int64_t channel, int64_t valid,
                     const float* bias) {
  const int64_t lanes = VectorLanes();
  for (int64_t t = 0; t < count; ++t) {
    const auto [n, i, j] = grid.at(first + t);
    float* out = job.result + ((n * grid.result_h + i) * grid.result_w + j) * job.result_c() + channel;
    const bool below = i + 1 < grid.result_h, beside = j + 1 < grid.result_w;
    for (int64_t c = 0; c < valid; c += lanes) {
      const float* from = planes.data + t * planes.width + c;
      Vec e[2][4];
      TERN_UNROLL for (int s = 0; s < 4; ++s) {
        Vec m[4];
        TERN_UNROLL for (int r = 0; r < 4; ++r) m[r] = hn::Load(kF32, from + (r * 4 + s) * planes.plane);
        e[0][s] = hn::Add(hn::Add(m[0], m[1]), m[2]);
        e[1][s] = hn::Sub(hn::Sub(m[1], m[2]), m[3]);
      }
      const Vec start = hn::Load(kF32, bias + c);
      const auto store = [&](int r, int s, const Vec& value) {
        float* to = out + (r * grid.result_w + s) * job.result_c() + c;
        if (valid - c >= lanes)
          hn::StoreU(hn::Add(value, start), kF32, to);
        else
          hn::BlendedStore(hn::Add(value, start), hn::FirstN(kF32, static_cast<size_t>(valid - c)), kF32, to);
      };
      TERN_UNROLL for (int r = 0; r < 2; ++r) {
        if (r == 1 && !below) continue;
        store(r, 0, hn::Add(hn::Add(e[r][0], e[r][1]), e[r][2]));
        if (beside) store(r, 1, hn::Sub(hn::Sub(e[r][1], e[r][2]), e[r][3]));
      }
    }
  }
}

/// Some tiles of a correlation, from the source to the result. `u` [blocks][positions][group_in][2 vectors].
void RunTiles(const Correlation& job, const TileGrid& grid, const float* u, const float* bias, int64_t first, int64_t count, const float* zeros, const Planes& in,
              const Planes& out) {
  const int64_t lanes = VectorLanes(), width = 2 * lanes, channels = job.group_in;
  TransformInput({job.source, job.source_h, job.source_w, channels}, grid, job.rows.offset, job.cols.offset, first, count, 0, 4, zeros, in);
  const int64_t groups = (count + kMaxRows - 1) / kMaxRows;
  for (int64_t channel = 0; channel < job.group_out; channel += width) {
    const int64_t valid = std::min(width, job.group_out - channel);
    const auto& products = kAcross[valid <= lanes ? 0 : 1];
    for (int64_t e = 0; e < kPositions; ++e, u += channels * width)
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t from = group * count / groups, rows = (group + 1) * count / groups - from;
        products[static_cast<size_t>(rows - 1)](in.data + e * in.plane + from * in.width, in.width, u, channels, false,
                                                out.data + e * out.plane + from * width);
      }
    TransformOutput(out, job, grid, first, count, channel, valid, bias + channel);
  }
}

/// Positions of rows [row_begin, row_end) of panel [positions][C][2 vectors] (+)= the products of some tiles of x and one block of dy.
void AddTiles(const Planes& x, const Planes& dy, int64_t channels, int64_t tiles, int64_t valid, int row_begin, int row_end, bool add, float* panel) {
  const int64_t lanes = VectorLanes(), width = 2 * lanes;
  const auto& products = kAlong[valid <= lanes ? 0 : 1];
  const int64_t groups = (channels + kMaxRows - 1) / kMaxRows;
  for (int64_t e = 4 * row_begin; e < 4 * row_end; ++e)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t from = group * channels / groups, rows = (group + 1) * channels / groups - from;
      products[static_cast<size_t>(rows - 1)](x.data + e * x.plane + from, x.width, dy.data + e * dy.plane, tiles, add,
                                              panel + (e * channels + from) * width);
    }
}

/// u = G g G^T of a block of filters, in place: the taps [3][3][in][2 vectors] become the positions [4][4][in][2 vectors].
void TransformFilters(float* block, int64_t floats) {
  const Vec half = hn::Set(kF32, 0.5F);
  const auto four = [&](const Vec& g0, const Vec& g1, const Vec& g2, Vec (&to)[4]) {
    const Vec outer = hn::Add(g0, g2);
    to[0] = g0;
    to[1] = hn::Mul(half, hn::Add(outer, g1));
    to[2] = hn::Mul(half, hn::Sub(outer, g1));
    to[3] = g2;
  };
  for (int64_t i = 0; i < floats; i += VectorLanes()) {
    Vec columns[3][4];
    TERN_UNROLL for (int s = 0; s < 3; ++s) four(hn::Load(kF32, block + s * floats + i), hn::Load(kF32, block + (3 + s) * floats + i),
                                                 hn::Load(kF32, block + (6 + s) * floats + i), columns[s]);
    TERN_UNROLL for (int r = 0; r < 4; ++r) {
      Vec row[4];
      four(columns[0][r], columns[1][r], columns[2][r], row);
      TERN_UNROLL for (int s = 0; s < 4; ++s) hn::Store(row[s], kF32, block + (r * 4 + s) * floats + i);
    }
  }
}

/// G^T m G of a panel, in place: the 9 taps [3][3][C][2 vectors] take the place of the first positions.
void TransformPanel(float* panel, int64_t floats) {
  const Vec half = hn::Set(kF32, 0.5F);
  const auto three = [&](const Vec& m0, const Vec& m1, const Vec& m2, const Vec& m3, Vec (&to)[3]) {
    const Vec sum = hn::Mul(half, hn::Add(m1, m2));
    to[0] = hn::Add(m0, sum);
    to[1] = hn::Mul(half, hn::Sub(m1, m2));
    to[2] = hn::Add(sum, m3);
  };
  for (int64_t i = 0; i < floats; i += VectorLanes()) {
    Vec e[4][3];  // columns of G^T m
    TERN_UNROLL for (int s = 0; s < 4; ++s) {
      Vec m[4];
      TERN_UNROLL for (int r = 0; r < 4; ++r) m[r] = hn::Load(kF32, panel + (r * 4 + s) * floats + i);
      three(m[0], m[1], m[2], m[3], e[s]);
    }
    TERN_UNROLL for (int r = 0; r < 3; ++r) {
      Vec w[3];
      three(e[0][r], e[1][r], e[2][r], e[3][r], w);
      TERN_UNROLL for (int s = 0; s < 3; ++s) hn::Store(w[s], kF32, panel + (r * 3 + s) * floats + i);
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
HWY_EXPORT(MaxRows);
HWY_EXPORT(RunTiles);
HWY_EXPORT(TransformInput);
HWY_EXPORT(TransformGradient);
HWY_EXPORT(AddTiles);
HWY_EXPORT(TransformPanel);
HWY_EXPORT(TransformFilters);

constexpr int64_t kMaxLanes = 16;           // no target's vectors are wider
constexpr int64_t kMaxWidth = 2 * kMaxLanes;  // result channels of a block

int64_t padded(int64_t channels, int64_t width) { return (channels + width - 1) / width * width; }

/// Tiles that are transformed at a time: what they become should stay in a second-level cache.
int64_t tiles_at_once(int64_t channels) { return std::clamp<int64_t>((int64_t{1} << 17) / (kPositions * (channels + kMaxWidth)), 48, 192); }

/// The same in the weights' gradient, where they are also what is summed in a piece: by shape alone.
int64_t tiles_in_a_piece(const ConvShape& s) { return std::clamp<int64_t>((int64_t{1} << 18) / (kPositions * (s.c + s.k)), 128, 256); }

/// The transformed tiles that a thread of the pool works on, and what it makes of them.
struct SlotBuffers {
  float *in, *out;
};
std::vector<SlotBuffers> take_buffers(Scratch& scratch, int threads, int64_t in_floats, int64_t out_floats) {
  std::vector<SlotBuffers> buffers;
  for (int slot = 0; slot < threads; ++slot) {
    float* in = scratch.take<float>(in_floats);
    buffers.push_back({in, scratch.take<float>(out_floats)});
  }
  return buffers;
}

/// Arrays of winograd_f32, taken from a Scratch in this order.
struct ForwardSizes {
  explicit ForwardSizes(const Correlation& job)
      : tiles(tiles_at_once(job.group_in)), u(kPositions * job.group_in * padded(job.group_out, kMaxWidth)), bias(padded(job.group_out, kMaxWidth)),
        zeros(padded(job.group_in, kMaxLanes)), in(kPositions * Planes::plane_floats(tiles, padded(job.group_in, kMaxLanes))),
        out(kPositions * Planes::plane_floats(tiles, kMaxWidth)) {}
  int64_t tiles, u, bias, zeros, in, out;
};

/// Those of winograd_wgrad_f32.
struct WgradSizes {
  WgradSizes(const ConvShape& s, int64_t lane_size)
      : tiles(tiles_in_a_piece(s)), lane_floats(kPositions * s.c * padded(s.k, kMaxWidth)), panels(Lanes{s.n, lane_size}.count() * lane_floats),
        zeros(padded(std::max(s.c, s.k), kMaxWidth)), x(kPositions * Planes::plane_floats(tiles, padded(s.c, kMaxLanes))),
        dy(kPositions * Planes::plane_floats(tiles, kMaxWidth)) {}
  int64_t tiles, lane_floats, panels, zeros, x, dy;
};

}  // namespace

bool winograd_fits(const ConvShape& s) {
  const Conv2d& o = s.options;
  const bool plain = s.r == 3 && s.s == 3 && o.groups == 1 && o.stride == Pair(1) && o.dilation == Pair(1);
  if (!plain || std::min(s.c, s.k) < 16) return false;
  // The products saved must pay for the transforms, on the forward's results and on dgrad's, which differ by the padding.
  const auto pays = [](int64_t h, int64_t w) { return 9 * h * w >= 24 * ((h + 1) / 2) * ((w + 1) / 2); };
  return pays(s.p, s.q) && pays(s.h, s.w);
}

size_t winograd_f32_workspace(const Correlation& job, int threads) {
  const ForwardSizes size(job);
  return scratch_bytes<float>(size.u) + scratch_bytes<float>(size.bias) + scratch_bytes<float>(size.zeros) +
         static_cast<size_t>(threads) * (scratch_bytes<float>(size.in) + scratch_bytes<float>(size.out));
}

void winograd_f32(const Correlation& job, const float* w, const FilterSteps& steps, const float* bias, std::span<std::byte> memory, ThreadPool& pool) {
  const ForwardSizes size(job);
  Scratch scratch(memory);
  float* u = scratch.take<float>(size.u);
  float* start = scratch.take<float>(size.bias);
  float* zeros = scratch.take<float>(size.zeros);
  const std::vector<SlotBuffers> buffers = take_buffers(scratch, pool.threads(), size.in, size.out);
  const int64_t lanes = HWY_DYNAMIC_DISPATCH(VectorLanes)(), width = 2 * lanes;
  const int64_t block = kPositions * job.group_in * width;
  pack_filters(job, w, steps, width, block, u, pool);
  pool.parallel_for((job.group_out + width - 1) / width, [&](int64_t b) { HWY_DYNAMIC_DISPATCH(TransformFilters)(u + b * block, job.group_in * width); });
  std::fill_n(start, size.bias, 0.0F);
  if (bias != nullptr) std::copy_n(bias, job.group_out, start);
  std::fill_n(zeros, size.zeros, 0.0F);

  const TileGrid grid = TileGrid::of(job.result_h, job.result_w);
  const int64_t tiles = job.images * grid.a_picture();
  const int64_t tasks = std::max((tiles + size.tiles - 1) / size.tiles, std::min<int64_t>(2 * pool.threads(), tiles / 12));
  const int64_t count = tasks > 0 ? tasks : 1;
  pool.parallel_for(count, [&](int64_t task, int slot) {
    const int64_t first = task * tiles / count, number = (task + 1) * tiles / count - first;
    const int64_t in_width = padded(job.group_in, lanes);
    const Planes in{buffers[static_cast<size_t>(slot)].in, in_width, Planes::plane_floats(size.tiles, in_width)};
    const Planes out{buffers[static_cast<size_t>(slot)].out, width, Planes::plane_floats(size.tiles, width)};
    HWY_DYNAMIC_DISPATCH(RunTiles)(job, grid, u, start, first, number, zeros, in, out);
  });
}

size_t winograd_wgrad_f32_workspace(const ConvShape& shape, int64_t lane_size, int threads) {
  const WgradSizes size(shape, lane_size);
  return scratch_bytes<float>(size.panels) + scratch_bytes<float>(size.zeros) +
         static_cast<size_t>(threads) * (scratch_bytes<float>(size.x) + scratch_bytes<float>(size.dy));
}

void winograd_wgrad_f32(const ConvShape& s, int64_t lane_size, const float* x, const float* dy, float* dw, std::span<std::byte> memory, ThreadPool& pool) {
  const WgradSizes size(s, lane_size);
  Scratch scratch(memory);
  float* panels = scratch.take<float>(size.panels);
  float* zeros = scratch.take<float>(size.zeros);
  const std::vector<SlotBuffers> buffers = take_buffers(scratch, pool.threads(), size.x, size.dy);
  std::fill_n(zeros, size.zeros, 0.0F);
  const int64_t lanes_of_vector = HWY_DYNAMIC_DISPATCH(VectorLanes)(), width = 2 * lanes_of_vector;
  const Lanes lanes{s.n, lane_size};
  const TileGrid grid = TileGrid::of(s.p, s.q);
  const int64_t blocks = (s.k + width - 1) / width, panel = kPositions * s.c * width;

  // As few parts as keep all threads busy, first rows of positions, whose transforms are work of their own, then blocks of filters.
  const int64_t wanted = pool.threads() / std::gcd<int64_t>(pool.threads(), lanes.count());
  const int64_t row_parts = wanted >= 4 ? 4 : wanted >= 2 ? 2 : 1;
  const int64_t block_parts = std::clamp<int64_t>(wanted / row_parts, 1, blocks);
  pool.parallel_for(lanes.count() * row_parts * block_parts, [&](int64_t task, int slot) {
    const int64_t lane = task / (row_parts * block_parts), row_part = task % row_parts, block_part = task / row_parts % block_parts;
    const int row_begin = static_cast<int>(4 * row_part / row_parts), row_end = static_cast<int>(4 * (row_part + 1) / row_parts);
    const int64_t x_width = padded(s.c, lanes_of_vector);
    const Planes in{buffers[static_cast<size_t>(slot)].in, x_width, Planes::plane_floats(size.tiles, x_width)};
    const Planes out{buffers[static_cast<size_t>(slot)].out, width, Planes::plane_floats(size.tiles, width)};
    const int64_t begin = lanes.begin(lane) * grid.a_picture(), end = lanes.end(lane) * grid.a_picture();
    for (int64_t first = begin; first < end; first += size.tiles) {
      const int64_t count = std::min(size.tiles, end - first);
      HWY_DYNAMIC_DISPATCH(TransformInput)
      ({x, s.h, s.w, s.c}, grid, -s.options.padding.h, -s.options.padding.w, first, count, row_begin, row_end, zeros, in);
      for (int64_t block = block_part * blocks / block_parts; block < (block_part + 1) * blocks / block_parts; ++block) {
        const int64_t valid = std::min(width, s.k - block * width);
        HWY_DYNAMIC_DISPATCH(TransformGradient)
        ({dy, s.p, s.q, s.k}, grid, first, count, row_begin, row_end, block * width, valid, zeros, out);
        HWY_DYNAMIC_DISPATCH(AddTiles)
        (in, out, s.c, count, valid, row_begin, row_end, first != begin, panels + lane * size.lane_floats + block * panel);
      }
    }
  });
  pool.parallel_for(lanes.count() * blocks, [&](int64_t task) {
    HWY_DYNAMIC_DISPATCH(TransformPanel)(panels + task / blocks * size.lane_floats + task % blocks * panel, s.c * width);
  });
  pool.parallel_for(blocks, [&](int64_t block) {
    reduce_wgrad_panel({panels + block * panel, lanes.count(), size.lane_floats, width}, 9 * s.c,
                       std::min(width, s.k - block * width), dw + block * width * 9 * s.c);
  });
}

}  // namespace tern
#endif
