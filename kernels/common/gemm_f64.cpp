// The f64 matrix product: Eigen's product on tiles of one fixed size.
//
// Eigen's results depend on the matrix' extents (rows left over take another path), on the cache sizes it finds and on
// its threads; its dynamic products allocate. A product whose extents are compile-time constants has none of this: one
// path, buffers on the stack, no threads. So every tile is padded with zeros to the same extents.
#define EIGEN_DONT_PARALLELIZE
#include <algorithm>

#include <Eigen/Core>

#include "core/thread_pool.h"
#include "kernels/common/gemm.h"

namespace tern {
namespace {

// 24 rows are whole panels of Eigen's inner loop (three packets) for packets of 2, 4 and 8 doubles.
constexpr int64_t kRows = 24, kColumns = 32, kDepth = 64;
using TileA = Eigen::Matrix<double, kRows, kDepth, Eigen::ColMajor>;
using TileB = Eigen::Matrix<double, kDepth, kColumns, Eigen::ColMajor>;
using TileC = Eigen::Matrix<double, kRows, kColumns, Eigen::ColMajor>;
using Strided = Eigen::Map<const Eigen::MatrixXd, 0, Eigen::OuterStride<>>;

/// Copies the block at (i, j) of a row-major matrix with `columns` columns, or of its transpose, and pads it with zeros.
template <class Tile>
void load(Tile& tile, const double* from, int64_t columns, bool transposed, int64_t i, int64_t j, int64_t rows, int64_t width) {
  if (rows < tile.rows() || width < tile.cols()) tile.setZero();
  // Row-major memory is the transpose of the column-major matrix that Eigen maps.
  if (transposed)
    tile.topLeftCorner(rows, width) = Strided(from + j * columns + i, rows, width, Eigen::OuterStride<>(columns));
  else
    tile.topLeftCorner(rows, width) = Strided(from + i * columns + j, width, rows, Eigen::OuterStride<>(columns)).transpose();
}

void multiply_tile(const Gemm& g, const double* a, const double* b, const double* bias, double* c, int64_t i, int64_t j) {
  const int64_t rows = std::min(kRows, g.m - i), columns = std::min(kColumns, g.n - j);
  TileA tile_a;
  TileB tile_b;
  TileC sum, part;
  if (g.accumulate)
    load(sum, c, g.n, false, i, j, rows, columns);
  else
    sum.setZero();
  for (int64_t k = 0; k < g.k; k += kDepth) {
    const int64_t depth = std::min(kDepth, g.k - k);
    load(tile_a, a, g.transpose_a ? g.m : g.k, g.transpose_a, i, k, rows, depth);
    load(tile_b, b, g.transpose_b ? g.k : g.n, g.transpose_b, k, j, depth, columns);
    part.noalias() = tile_a * tile_b;
    sum += part;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t q = 0; q < columns; ++q) c[(i + r) * g.n + j + q] = bias ? sum(r, q) + bias[j + q] : sum(r, q);
}

}  // namespace

template <>
size_t gemm_workspace<double>(const Gemm&) {
  return 0;
}

template <>
void run_gemm<double>(const Gemm& g, const double* a, const double* b, const double* bias, double* c, std::span<std::byte>,
                      ThreadPool& pool) {
  const int64_t column_tiles = (g.n + kColumns - 1) / kColumns;
  pool.parallel_for((g.m + kRows - 1) / kRows * column_tiles, [&](int64_t tile) {
    multiply_tile(g, a, b, bias, c, tile / column_tiles * kRows, tile % column_tiles * kColumns);
  });
}

}  // namespace tern
