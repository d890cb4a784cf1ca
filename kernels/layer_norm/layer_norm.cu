#include "kernels/common/held_row.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/layer_norm/layer_norm_tasks.h"

namespace tern::cuda {
namespace {

/// A vector of parameters in x's dtype or in the type that is computed in, or none.
template <class T>
struct Parameter {
  const T* same = nullptr;
  const Accumulator<T>* wide = nullptr;
  Accumulator<T> otherwise;

  Parameter(const Tensor* tensor, Accumulator<T> fallback) : otherwise(fallback) {
    if (!tensor) return;
    if (tensor->dtype() == dtype_of<Accumulator<T>>)
      wide = tensor->data<Accumulator<T>>();
    else
      same = tensor->data<T>();
  }
  __device__ Accumulator<T> operator[](int64_t i) const {
    return wide ? wide[i] : same ? static_cast<Accumulator<T>>(widen(same[i])) : otherwise;
  }
};

/// A team normalises a row: its mean, its variance around that, and the result, from registers.
template <int kPack, class T>
struct NormalizeRow {
  using A = Compute<T>;
  const T* x;
  T* y;
  A* means;
  A* rstds;
  Parameter<T> gamma, beta;
  int64_t width;
  A eps;
  bool aligned;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    const HeldRow<kPack, T> row(team, x + r * width, width / kPack, kPack, aligned);
    A sum = 0;
    row.each([&](int64_t, const Pack<T, kPack>& from) {
      for (int i = 0; i < kPack; ++i) sum += widen(from.v[i]);
    });
    const A mean = team.reduce(sum, A{0}, Plus{}) / static_cast<A>(width);
    A squares = 0;
    row.each([&](int64_t, const Pack<T, kPack>& from) {
      for (int i = 0; i < kPack; ++i) squares += (widen(from.v[i]) - mean) * (widen(from.v[i]) - mean);
    });
    const A rstd = A{1} / std::sqrt(team.reduce(squares, A{0}, Plus{}) / static_cast<A>(width) + eps);
    if (!active) return;
    if (team.rank == 0) {
      means[r] = mean;
      rstds[r] = rstd;
    }
    row.each([&](int64_t unit, const Pack<T, kPack>& from) {
      Pack<T, kPack> to;
      for (int i = 0; i < kPack; ++i) {
        const int64_t at = unit * kPack + i;
        to.v[i] = narrow<T>((widen(from.v[i]) - mean) * rstd * gamma[at] + beta[at]);
      }
      store_any(y + r * width + unit * kPack, to, aligned);
    });
  }
};

/// What both backward kernels read.
template <class T>
struct Backward {
  using A = Compute<T>;
  const T* x;
  const T* dy;
  const A* mean;
  const A* rstd;
  Parameter<T> gamma;
  int64_t width;
};

/// dx of a row, by a team: two sums over the row, then every element.
template <int kPack, class T>
struct BackwardRow {
  using A = Compute<T>;
  Backward<T> in;
  T* dx;
  bool aligned;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    const int64_t units = in.width / kPack;
    const T* x = in.x + r * in.width;
    const HeldRow<kPack, T> row(team, in.dy + r * in.width, units, kPack, aligned);
    const A mean = in.mean[r], rstd = in.rstd[r];
    A offset = 0, slope = 0;
    row.each([&](int64_t unit, const Pack<T, kPack>& dy) {
      const auto from = load_any<kPack>(x + unit * kPack, aligned);
      for (int i = 0; i < kPack; ++i) {
        const A g = widen(dy.v[i]) * in.gamma[unit * kPack + i];
        offset += g;
        slope += g * ((widen(from.v[i]) - mean) * rstd);
      }
    });
    offset = team.reduce(offset, A{0}, Plus{}) / static_cast<A>(in.width);
    slope = team.reduce(slope, A{0}, Plus{}) / static_cast<A>(in.width);
    if (!active) return;
    row.each([&](int64_t unit, const Pack<T, kPack>& dy) {
      const auto from = load_any<kPack>(x + unit * kPack, aligned);
      Pack<T, kPack> to;
      for (int i = 0; i < kPack; ++i) {
        const A g = widen(dy.v[i]) * in.gamma[unit * kPack + i];
        to.v[i] = narrow<T>(rstd * (g - offset - (widen(from.v[i]) - mean) * rstd * slope));
      }
      store_any(dx + r * in.width + unit * kPack, to, aligned);
    });
  }
};

constexpr int kColumns = 32;  // threads side by side; the others of the block take other rows

/// The part of a task's rows in dgamma and dbeta of kColumns columns, by a block.
template <class T>
__global__ void layer_norm_columns_kernel(Backward<T> in, int64_t rows, int64_t rows_per_lane, int64_t tasks,
                                          Compute<T>* partials) {
  using A = Compute<T>;
  __shared__ A shared_gamma[kThreads], shared_beta[kThreads];
  const int64_t strips = (in.width + kColumns - 1) / kColumns;
  const int64_t column = blockIdx.x % strips * kColumns + threadIdx.x % kColumns;
  const int64_t part = blockIdx.x / strips, lane = part / tasks, below = threadIdx.x / kColumns;
  const int64_t first = lane * rows_per_lane + part % tasks * LayerNormTasks::kRows;
  const int64_t lane_end = min(rows, (lane + 1) * rows_per_lane), end = min(lane_end, first + LayerNormTasks::kRows);
  A dgamma = 0, dbeta = 0;
  if (column < in.width) {
#pragma unroll 4
    for (int64_t r = first + below; r < end; r += kThreads / kColumns) {
      const A g = widen(in.dy[r * in.width + column]);
      dgamma += g * ((widen(in.x[r * in.width + column]) - in.mean[r]) * in.rstd[r]);
      dbeta += g;
    }
  }
  shared_gamma[threadIdx.x] = dgamma;
  shared_beta[threadIdx.x] = dbeta;
  for (int half = kThreads / 2; half >= kColumns; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) {
      shared_gamma[threadIdx.x] = dgamma += shared_gamma[threadIdx.x + half];
      shared_beta[threadIdx.x] = dbeta += shared_beta[threadIdx.x + half];
    }
  }
  if (below != 0 || column >= in.width) return;
  partials[part * 2 * in.width + column] = dgamma;
  partials[part * 2 * in.width + in.width + column] = dbeta;
}

/// The sums of columns 0..width-1 are dgamma, the others dbeta; both in x's dtype or in the type that is computed in.
template <class T>
struct WriteGradients {
  void* dgamma;
  void* dbeta;
  int64_t width;
  bool wide;
  __device__ void operator()(int64_t i, Compute<T> total) const {
    void* to = i < width ? dgamma : dbeta;
    const int64_t at = i < width ? i : i - width;
    if (wide)
      static_cast<Compute<T>*>(to)[at] = total;
    else
      static_cast<T*>(to)[at] = narrow<T>(total);
  }
};

template <class T>
void parameter_gradients(Launch& launch, const Backward<T>& in, const LayerNormTasks& cut) {
  using A = Compute<T>;
  const int64_t count = cut.lanes.count(), tasks = cut.tasks(0), strips = ceil_div(in.width, kColumns);
  A* partials = reinterpret_cast<A*>(launch.workspace.data());
  cuda::launch(launch.context, "layer_norm_grad", layer_norm_columns_kernel<T>, count * tasks * strips, kThreads, in,
               cut.lanes.rows * cut.rows_per_sample, cut.lanes.end(0) * cut.rows_per_sample, tasks, partials);
  const WriteGradients<T> write{launch.out[0].raw(), launch.out[1].raw(), in.width,
                                launch.out[0].dtype() == dtype_of<A>};
  const PartialResults extents{count, tasks, cut.tasks(count - 1), 2 * in.width};
  combine_partials<A>(launch.context, "layer_norm_grad", SumPolicy<A>{}, partials, extents, write);
}

}  // namespace

void layer_norm(Launch& launch, int64_t width, double eps, const Tensor* gamma, const Tensor* beta) {
  dispatch_floating("layer_norm", launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Compute<T>;
    const T* x = launch.in[0].data<T>();
    T* y = launch.out[0].data<T>();
    with_row_pack<T>(width, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const NormalizeRow<kPack, T> row{x,
                                       y,
                                       launch.out[1].data<A>(),
                                       launch.out[2].data<A>(),
                                       Parameter<T>(gamma, 1),
                                       Parameter<T>(beta, 0),
                                       width,
                                       static_cast<A>(eps),
                                       kPack == 1 || aligned16(x, y)};
      launch_rows(launch.context, "layer_norm", row, launch.in[0].numel() / width, team_size_for(width / kPack));
    });
  });
}

void layer_norm_grad(Launch& launch, const LayerNormTasks& cut, int64_t width, const Tensor* gamma) {
  dispatch_floating("layer_norm_grad", launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Compute<T>;
    const Backward<T> in{launch.in[0].data<T>(), launch.in[1].data<T>(), launch.in[2].data<A>(),
                         launch.in[3].data<A>(), Parameter<T>(gamma, 1), width};
    parameter_gradients(launch, in, cut);
    if (launch.out.size() < 3) return;
    T* dx = launch.out[2].data<T>();
    with_row_pack<T>(width, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const BackwardRow<kPack, T> row{in, dx, kPack == 1 || aligned16(in.x, in.dy, dx)};
      launch_rows(launch.context, "layer_norm_grad", row, launch.in[0].numel() / width, team_size_for(width / kPack));
    });
  });
}

}  // namespace tern::cuda
