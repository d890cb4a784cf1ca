// The f32 matrix product: packed panels and a register-blocked inner loop, once per SIMD target.
#include "kernels/common/gemm.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/thread_pool.h"
#include "kernels/common/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/common/gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_GEMM_ONCE
#define TERN_GEMM_ONCE
namespace tern {
namespace {

constexpr int64_t kChunk = 256;       // of k: a panel of a and one of b fit the first-level cache
constexpr int64_t kMaxColumns = 32;   // of a panel of b on any target
constexpr int64_t kFewPanels = 4;     // of rows
constexpr int64_t kShort = 64;        // a k of which a panel's rows stay in the first-level cache wherever they lie

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace
}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kColumns = 2 * kLanes;
// Accumulators, two vectors of b and one of a fill the registers: 32 with AVX-512 and NEON, 16 with AVX2.
constexpr int kRows = HWY_TARGET == HWY_AVX2 ? 6 : 12;
static_assert(kColumns <= kMaxColumns);

/// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns.
void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t columns) {
  const hn::CappedTag<float, 4> d4;
  const hn::Repartition<double, decltype(d4)> d2;
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    const float* row = from + i * from_stride;
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4) {
      const auto r0 = hn::LoadU(d4, row + j);
      const auto r1 = hn::LoadU(d4, row + from_stride + j);
      const auto r2 = hn::LoadU(d4, row + 2 * from_stride + j);
      const auto r3 = hn::LoadU(d4, row + 3 * from_stride + j);
      const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d4, r0, r1));
      const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d4, r2, r3));
      const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d4, r0, r1));
      const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d4, r2, r3));
      float* out = to + j * to_stride + i;
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, low01, low23)), d4, out);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, low01, low23)), d4, out + to_stride);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, high01, high23)), d4, out + 2 * to_stride);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, high01, high23)), d4, out + 3 * to_stride);
    }
    for (; j < columns; ++j)
      for (int64_t r = 0; r < 4; ++r) to[j * to_stride + i + r] = row[r * from_stride + j];
  }
  for (; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[j * to_stride + i] = from[i * from_stride + j];
}

/// to[i * to_stride + j] = from[i * from_stride + j].
void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) std::copy_n(from + i * from_stride, columns, to + i * to_stride);
}

/// What becomes of a block's sums over one chunk of k.
struct Finish {
  bool add = false;             // to what c holds
  const float* bias = nullptr;  // at the block's first column; set for the last chunk only
};

/// R rows by kColumns columns of c over `depth` steps of k. a: its rows `a_stride` apart where kRowMajor, else its columns; b: [depth]
/// rows `b_stride` apart.
template <int R, bool kRowMajor>
void block(const float* HWY_RESTRICT a, int64_t a_stride, const float* HWY_RESTRICT b, int64_t b_stride, int64_t depth, float* HWY_RESTRICT c,
           int64_t c_stride, int64_t columns, Finish finish) {
  const D d;
  V sum[R][2];
  // The processor adds up to two strides to an address by itself: a pointer for every third row will do.
  constexpr int kTogether = kRowMajor ? 3 : R;
  const float* at[(R + kTogether - 1) / kTogether];
  for (size_t i = 0; i < std::size(at); ++i) at[i] = a + static_cast<int64_t>(i) * kTogether * a_stride;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = hn::Zero(d);
  for (int64_t k = 0; k < depth; ++k, b += b_stride) {
    const V b0 = hn::LoadU(d, b);
    const V b1 = hn::LoadU(d, b + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V ar = hn::Set(d, at[r / kTogether][r % kTogether * (kRowMajor ? a_stride : 1)]);
      sum[r][0] = hn::MulAdd(ar, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(ar, b1, sum[r][1]);
    }
    for (const float*& pointer : at) pointer += kRowMajor ? 1 : a_stride;
  }
  if (columns == kColumns) {
    for (int r = 0; r < R; ++r, c += c_stride) {
      for (int h = 0; h < 2; ++h) {
        V y = sum[r][h];
        if (finish.add) y = hn::Add(hn::LoadU(d, c + h * kLanes), y);
        if (finish.bias) y = hn::Add(y, hn::LoadU(d, finish.bias + h * kLanes));
        hn::StoreU(y, d, c + h * kLanes);
      }
    }
    return;
  }
  HWY_ALIGN float row[kColumns];
  for (int r = 0; r < R; ++r, c += c_stride) {
    hn::Store(sum[r][0], d, row);
    hn::Store(sum[r][1], d, row + kLanes);
    for (int64_t j = 0; j < columns; ++j) {
      float y = row[j];
      if (finish.add) y = c[j] + y;
      if (finish.bias) y = y + finish.bias[j];
      c[j] = y;
    }
  }
}

using Block = void (*)(const float*, int64_t, const float*, int64_t, int64_t, float*, int64_t, int64_t, Finish);

template <int... R>
Block block_of(int64_t rows, bool row_major, std::integer_sequence<int, R...>) {
  static constexpr Block kBlocks[2][kRows] = {{block<R + 1, false>...}, {block<R + 1, true>...}};
  return kBlocks[row_major][rows - 1];
}

/// One product: its packed operands and its cut into tasks.
class Product {
 public:
  Product(const Gemm& gemm, const float* a, const float* b, const float* bias, float* c, float* workspace)
      : g_(gemm), a_(a), b_(b), bias_(bias), c_(c), padded_n_(round_up(gemm.n, kColumns)), packed_a_(workspace),
        packed_b_(workspace + round_up(gemm.m * gemm.k, 16)) {
    // What is read only a few times is read in place: a copy would cost more than its better layout gives, above all to the thread that
    // has to fetch it from the caches of another.
    few_rows_ = gemm.m <= kFewPanels * kRows;
    in_place_ = few_rows_ || gemm.k <= kShort;
  }

  void run(ThreadPool& all_threads) const {
    ThreadPool& pool = pool_for(all_threads, 2.0 * static_cast<double>(g_.m * g_.n * g_.k));
    const int64_t row_panels = (g_.m + kRows - 1) / kRows;
    const int64_t column_panels = padded_n_ / kColumns;
    if (few_rows_) {  // a thread packs its columns of b itself, right before all rows are multiplied with them
      pool.parallel_for(column_panels, [&](int64_t panel) {
        const int64_t j = panel * kColumns;
        pack_b(j);
        multiply_panels(0, g_.m, j, std::min(g_.n, j + kColumns));
      });
      return;
    }
    // A task's part of one chunk of b stays in the second-level cache for all its rows; few rows are cut finer, so that
    // there is a task for every thread.
    const bool large = row_panels >= 32;
    const int64_t task_rows = large ? 8 * kRows : kRows;
    const int64_t task_columns = (large ? 8 : 4) * kColumns;
    const int64_t row_tasks = (g_.m + task_rows - 1) / task_rows;
    const int64_t column_tasks = (g_.n + task_columns - 1) / task_columns;
    if (in_place_) {
      for (int64_t i = 0; i < column_panels; ++i) pack_b(i * kColumns);
    } else {
      pool.parallel_for(row_panels + column_panels, [&](int64_t i) {
        if (i < row_panels)
          pack_a(i * kRows);
        else
          pack_b((i - row_panels) * kColumns);
      });
    }
    pool.parallel_for(row_tasks * column_tasks, [&](int64_t i) {
      const int64_t row = i / column_tasks * task_rows, column = i % column_tasks * task_columns;
      multiply_panels(row, std::min(g_.m, row + task_rows), column, std::min(g_.n, column + task_columns));
    });
  }

 private:
  int64_t depth_at(int64_t k) const { return std::min(kChunk, g_.k - k); }
  int64_t rows_at(int64_t i) const { return std::min<int64_t>(kRows, g_.m - i); }
  // A chunk holds its panels one after another, a panel its k steps.
  float* a_at(int64_t i, int64_t k) const { return packed_a_ + k * g_.m + i * depth_at(k); }
  float* b_at(int64_t j, int64_t k) const { return packed_b_ + k * padded_n_ + j * depth_at(k); }
  bool reads_b_in_place(int64_t j) const { return in_place_ && !g_.transpose_b && j + kColumns <= g_.n; }

  void pack_a(int64_t i) const {
    const int64_t rows = rows_at(i);
    for (int64_t k = 0; k < g_.k; k += kChunk) {
      if (g_.transpose_a)
        copy_rows(a_ + k * g_.m + i, g_.m, a_at(i, k), rows, depth_at(k), rows);
      else
        transpose(a_ + i * g_.k + k, g_.k, a_at(i, k), rows, rows, depth_at(k));
    }
  }

  void pack_b(int64_t j) const {
    if (reads_b_in_place(j)) return;
    const int64_t columns = std::min<int64_t>(kColumns, g_.n - j);
    for (int64_t k = 0; k < g_.k; k += kChunk) {
      float* to = b_at(j, k);
      // The columns beyond n only need to be numbers: their sums are thrown away.
      if (columns < kColumns) std::fill_n(to, depth_at(k) * kColumns, 0.0f);
      if (g_.transpose_b)
        transpose(b_ + j * g_.k + k, g_.k, to, kColumns, columns, depth_at(k));
      else
        copy_rows(b_ + k * g_.n + j, g_.n, to, kColumns, depth_at(k), columns);
    }
  }

  void multiply_panels(int64_t row_begin, int64_t row_end, int64_t column_begin, int64_t column_end) const {
    for (int64_t k = 0; k < g_.k; k += kChunk) {
      const bool last = k + kChunk >= g_.k;
      for (int64_t i = row_begin; i < row_end; i += kRows) {
        const bool row_major = in_place_ && !g_.transpose_a;
        const Block run_block = block_of(rows_at(i), row_major, std::make_integer_sequence<int, kRows>());
        const float* a = !in_place_ ? a_at(i, k) : row_major ? a_ + i * g_.k + k : a_ + k * g_.m + i;
        const int64_t a_stride = !in_place_ ? rows_at(i) : row_major ? g_.k : g_.m;
        for (int64_t j = column_begin; j < column_end; j += kColumns) {
          const bool direct = reads_b_in_place(j);
          run_block(a, a_stride, direct ? b_ + k * g_.n + j : b_at(j, k), direct ? g_.n : kColumns, depth_at(k),
                    c_ + i * g_.n + j, g_.n, std::min<int64_t>(kColumns, g_.n - j),
                    {.add = k > 0 || g_.accumulate, .bias = last && bias_ ? bias_ + j : nullptr});
        }
      }
    }
  }

  Gemm g_;
  const float *a_, *b_, *bias_;
  float* c_;
  int64_t padded_n_;
  float *packed_a_, *packed_b_;
  bool few_rows_, in_place_;
};

void gemm_f32(const Gemm& gemm, const float* a, const float* b, const float* bias, float* c, float* workspace, ThreadPool& pool) {
  Product(gemm, a, b, bias, c, workspace).run(pool);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {

HWY_EXPORT(gemm_f32);

template <>
size_t gemm_workspace<float>(const Gemm& g) {
  return sizeof(float) * static_cast<size_t>(round_up(g.m * g.k, 16) + round_up(g.n, kMaxColumns) * g.k);
}

template <>
void run_gemm<float>(const Gemm& gemm, const float* a, const float* b, const float* bias, float* c,
                     std::span<std::byte> workspace, ThreadPool& pool) {
  HWY_DYNAMIC_DISPATCH(gemm_f32)(gemm, a, b, bias, c, reinterpret_cast<float*>(workspace.data()), pool);
}

}  // namespace tern
#endif
