#include "bench/peaks.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/peaks.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "kernels/common/loops.h"

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// kChains * rounds multiply-adds of whole vectors; returns the floating-point operations. The chains hide the latency
/// of two units of 4 cycles each; they start from different values, or the compiler would compute one for all.
double FmaRounds(int64_t rounds, float* sink) {
  constexpr int kChains = 10;
  const hn::ScalableTag<float> d;
  const auto x = hn::Set(d, 0.999f), y = hn::Set(d, *sink);
  hn::Vec<decltype(d)> sums[kChains];
  TERN_UNROLL for (int i = 0; i < kChains; ++i) sums[i] = hn::Set(d, *sink + static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
    TERN_UNROLL for (int i = 0; i < kChains; ++i) sums[i] = hn::MulAdd(sums[i], x, y);
  }
  auto sum = sums[0];
  TERN_UNROLL for (int i = 1; i < kChains; ++i) sum = hn::Add(sum, sums[i]);
  *sink = hn::GetLane(sum);
  return 2.0 * kChains * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(d));
}

}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
HWY_EXPORT(FmaRounds);

namespace bench {
namespace {

/// Of several runs the one with most work a second.
template <class Work>
double best_rate(int runs, const Work& work) {
  double best = 0;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const double done = work();
    best = std::max(best, done / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

Peaks measure_peaks(ThreadPool& pool) {
  struct alignas(128) Cell {  // a cache line each, and its neighbour that is fetched along
    float sink = 1;
    double flops = 0;
  };
  std::vector<Cell> cells(static_cast<size_t>(pool.threads()));
  Peaks peaks;
  peaks.fma_gflops = 1e-9 * best_rate(12, [&] {
    pool.parallel_for(pool.threads(), [&](int64_t i) {
      Cell& cell = cells[static_cast<size_t>(i)];
      cell.flops = HWY_DYNAMIC_DISPATCH(FmaRounds)(4'000'000, &cell.sink);
    });
    double flops = 0;
    for (const Cell& cell : cells) flops += cell.flops;
    return flops;
  });
  constexpr size_t kBlock = size_t{64} << 20, kPiece = size_t{1} << 20;
  std::vector<char> from(kBlock, 1), to(kBlock, 2);
  peaks.copy_gbps = 1e-9 * best_rate(12, [&] {
    pool.parallel_for(kBlock / kPiece, [&](int64_t i) {
      std::memcpy(to.data() + static_cast<size_t>(i) * kPiece, from.data() + static_cast<size_t>(i) * kPiece, kPiece);
    });
    return 2.0 * kBlock;
  });
  return peaks;
}

}  // namespace bench
}  // namespace tern
#endif  // HWY_ONCE
