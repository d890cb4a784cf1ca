#pragma once
#include <limits>

#include "kernels/common/held_row.cuh"

/// What softmax, log-softmax and cross-entropy share on a GPU: the sum of exp of a row, one team of threads a row.
namespace tern::cuda {

/// log(sum of exp(x)) = largest + log(sum), kept apart so that x - largest loses nothing.
template <class A, class Sum>
struct ExpSum {
  A largest;
  Sum sum;
};

/// In S: f64 tells a sum of exp from 1 where a class is all but certain.
template <class S, bool kWholeBlock, int kPack, class T>
__device__ inline ExpSum<Compute<T>, S> exp_sum(const Team<kWholeBlock>& team, const HeldRow<kPack, T>& row) {
  using A = Compute<T>;
  const A lowest = -std::numeric_limits<A>::infinity();
  A largest = lowest;
  row.each([&](int64_t, const Pack<T, kPack>& x) {
    for (int i = 0; i < kPack; ++i) largest = Larger{}(largest, widen(x.v[i]));
  });
  largest = team.reduce(largest, lowest, Larger{});
  S sum = 0;
  row.each([&](int64_t, const Pack<T, kPack>& x) {
    for (int i = 0; i < kPack; ++i) sum += static_cast<S>(std::exp(widen(x.v[i]) - largest));
  });
  return {largest, team.reduce(sum, S{0}, Plus{})};
}

/// Rows along an axis: `count` elements, `inner` apart.
struct AxisRows {
  int64_t count, inner;
  __device__ int64_t start(int64_t row) const {
    return inner == 1 ? row * count : row / inner * count * inner + row % inner;
  }
};

/// y = softmax(x) or its logarithm; a team takes a row, one thread where the axis is not the innermost one, so that
/// neighbouring threads read neighbouring elements.
template <bool kLog, int kPack, class T>
struct SoftmaxRow {
  const T* x;
  T* y;
  AxisRows rows;
  bool aligned;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    using A = Compute<T>;
    const int64_t at = rows.start(r), step = rows.inner == 1 ? kPack : rows.inner;
    const HeldRow<kPack, T> row(team, x + at, rows.count / kPack, step, aligned);
    const ExpSum<A, A> sums = exp_sum<A>(team, row);
    if (!active) return;
    const A log_sum = std::log(sums.sum), scale = A{1} / sums.sum;
    row.each([&](int64_t unit, const Pack<T, kPack>& from) {
      Pack<T, kPack> to;
      for (int i = 0; i < kPack; ++i) {
        const A distance = widen(from.v[i]) - sums.largest;
        to.v[i] = narrow<T>(kLog ? distance - log_sum : std::exp(distance) * scale);
      }
      store_any(y + at + unit * step, to, aligned);
    });
  }
};

template <bool kLog>
void run_softmax(Launch& launch, std::string_view op, int axis) {
  const Shape& shape = launch.in[0].shape();
  AxisRows rows{shape[axis], 1};
  for (int i = axis + 1; i < shape.rank(); ++i) rows.inner *= shape[i];
  dispatch_floating(op, launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    with_row_pack<T>(rows.inner == 1 ? rows.count : 1, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const T* x = launch.in[0].data<T>();
      T* y = launch.out[0].data<T>();
      const SoftmaxRow<kLog, kPack, T> row{x, y, rows, kPack == 1 || aligned16(x, y)};
      launch_rows(launch.context, op, row, shape.numel() / rows.count,
                  rows.inner == 1 ? team_size_for(rows.count / kPack) : 1);
    });
  });
}

}  // namespace tern::cuda
