#include "kernels/batch_norm/batch_norm_device.cuh"
#include "kernels/max_pool2d/max_pool2d_device.cuh"

namespace tern::cuda {
namespace {

/// Count, mean and sum of squared deviations of kWidth channels.
/// Ref: Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979).
template <class Acc, int kWidth>
struct Moments {
  Acc n = 0;
  Acc mean[kWidth] = {};
  Acc m2[kWidth] = {};

  __device__ void merge(const Moments& other) {
    if (other.n == 0) return;
    const Acc share = other.n / (n + other.n), weight = n * share;
    const bool empty = n == 0;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Acc delta = other.mean[k] - mean[k];
      mean[k] = empty ? other.mean[k] : fma(delta, share, mean[k]);
      m2[k] = empty ? other.m2[k] : m2[k] + fma(delta * delta, weight, other.m2[k]);
    }
    n += other.n;
  }
};

/// Of the thread's rows, at most BatchNormBlocks::kMost, of which `load` brings kAtOnce at a time. Sums are taken about the thread's
/// first value, which is one of the sample: the cancellation then costs at most kMost roundings, however far the mean is from zero.
template <class T, int kWidth, int kAtOnce, class Load>
__device__ inline Moments<Compute<T>, kWidth> moments_of_thread(const BatchNormBlocks& b, const BatchNormPlace& place,
                                                                const Load& load) {
  using Acc = Compute<T>;
  Moments<Acc, kWidth> m;
  if (place.channel >= b.channels || place.row >= place.end) return m;
  Acc shift[kWidth] = {}, sum[kWidth] = {}, squares[kWidth] = {};
  for_rows<kAtOnce>(place, load, [&](int64_t r, const Pack<T, kWidth>& values) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      if (r == place.row) shift[k] = widen(values.v[k]);
      const Acc d = widen(values.v[k]) - shift[k];
      sum[k] += d;
      squares[k] = fma(d, d, squares[k]);
    }
  });
  m.n = static_cast<Acc>((place.end - place.row + place.step - 1) / place.step);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    const Acc mean = sum[k] / m.n, m2 = fma(-sum[k], mean, squares[k]);
    m.mean[k] = shift[k] + mean;
    m.m2[k] = m2 < 0 ? 0 : m2;
  }
  return m;
}

/// The block writes mean and sum of squared deviations of its cut, `m` being those of a thread: [lane][cut][2][channels].
template <class Acc, int kWidth>
__device__ inline void write_moments(const BatchNormBlocks& b, const BatchNormPlace& place, Moments<Acc, kWidth> m, Acc* partials) {
  __shared__ Acc mean[kWarps][32 * kWidth];
  __shared__ Acc m2[kWarps][32 * kWidth];
  __shared__ Acc count[kWarps];
  for (int offset = b.columns; offset < 32; offset *= 2) {
    Moments<Acc, kWidth> other;
    other.n = __shfl_xor_sync(kFullWarp, m.n, offset);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      other.mean[k] = __shfl_xor_sync(kFullWarp, m.mean[k], offset);
      other.m2[k] = __shfl_xor_sync(kFullWarp, m.m2[k], offset);
    }
    m.merge(other);
  }
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  if (lane == 0) count[warp] = m.n;  // of every column that has channels
  if (lane < b.columns) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      mean[warp][lane * kWidth + k] = m.mean[k];
      m2[warp][lane * kWidth + k] = m.m2[k];
    }
  }
  __syncthreads();
  const int i = static_cast<int>(threadIdx.x);
  const int64_t c = place.first_channel + i;
  if (i >= b.columns * kWidth || c >= b.channels) return;
  double total = 0, squares = 0;
  for (int w = 0; w < kWarps; ++w) total += static_cast<double>(count[w]) * static_cast<double>(mean[w][i]);
  total /= static_cast<double>(place.end - place.begin);
  for (int w = 0; w < kWarps; ++w) {
    const double delta = static_cast<double>(mean[w][i]) - total;
    squares += static_cast<double>(m2[w][i]) + static_cast<double>(count[w]) * delta * delta;
  }
  Acc* out = partials + (place.lane * b.cuts + place.cut) * 2 * b.channels + c;
  out[0] = static_cast<Acc>(total);
  out[b.channels] = static_cast<Acc>(squares);
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(BatchNormBlocks b, bool aligned, const T* x, Compute<T>* partials) {
  const BatchNormPlace place(b, blockIdx.x);
  if (place.begin >= place.end) return;
  const auto load = [&](int64_t r) { return load_channels<T, kWidth>(x + r * b.channels + place.channel, aligned); };
  write_moments(b, place, moments_of_thread<T, kWidth, kRowsAtOnce<T>>(b, place, load), partials);
}

/// The same of the pooled values, which it finds and writes: with the pixels of their windows that they came from.
template <class T, int kWidth, class Index, int kKernel>
__global__ void __launch_bounds__(kThreads) pool_statistics_kernel(BatchNormBlocks b, bool aligned, Window w, const T* x, T* pooled,
                                                                   Index* index, Compute<T>* partials) {
  const BatchNormPlace place(b, blockIdx.x);
  if (place.begin >= place.end) return;
  const auto pool = [&](int64_t r) {
    const Division row = divide(r, w.q), image = divide(row.quotient, w.p);
    const PoolPixel o{image.quotient, image.remainder, row.remainder, place.channel};
    const Largest<T, kWidth> largest = largest_of_window<T, kWidth, kKernel>(
        w, o, [&](int64_t i, int64_t j) { return load_channels<T, kWidth>(x + w.x_at(o.image, i, j) + o.channel, aligned); });
    const Pack<T, kWidth> values = largest.values();
    store_channels(pooled + r * b.channels + place.channel, values, aligned);
    store_channels(index + r * b.channels + place.channel, largest.template positions<Index>(), aligned);
    return values;
  };
  write_moments(b, place, moments_of_thread<T, kWidth, 2>(b, place, pool), partials);
}

/// The sum over cuts first, first + step, .. of count * mean, or with `centre` of the squared deviations from it.
template <class Acc>
__device__ inline double sum_of_cuts(const BatchNormBlocks& b, int64_t lane, int64_t c, const Acc* partials, int first,
                                     int step, const double* centre) {
  double sum = 0;
#pragma unroll 4
  for (int cut = first; cut < b.cuts; cut += step) {
    const int64_t rows = b.rows_of_cut(lane, cut);
    if (rows == 0) break;
    const Acc* from = partials + (lane * b.cuts + cut) * 2 * b.channels + c;
    const double n = static_cast<double>(rows), mean = static_cast<double>(from[0]);
    if (centre == nullptr) sum += n * mean;
    else sum += static_cast<double>(from[b.channels]) + n * (mean - *centre) * (mean - *centre);
  }
  return sum;
}

constexpr int kCombineSlices = 32;

/// A block finds the statistics of 32 channels of one lane from its many cuts: 32 threads a channel.
template <class Acc>
__global__ void __launch_bounds__(32 * kCombineSlices)
    combine_kernel(BatchNormBlocks b, const Acc* partials, Acc* mean, Acc* var) {
  __shared__ double parts[kCombineSlices][32];
  const int64_t groups = (b.channels + 31) / 32, lane = int64_t{blockIdx.x} / groups;
  const int column = static_cast<int>(threadIdx.x) % 32, slice = static_cast<int>(threadIdx.x) / 32;
  const int64_t c = int64_t{blockIdx.x} % groups * 32 + column;
  const double rows = static_cast<double>(b.rows_of_lane(lane));
  double found[2] = {0, 0};  // mean, variance
  for (int pass = 0; pass < 2; ++pass) {
    if (c < b.channels)
      parts[slice][column] =
          sum_of_cuts(b, lane, c, partials, slice, kCombineSlices, pass == 0 ? nullptr : &found[0]);
    __syncthreads();
    if (c < b.channels)
      for (int s = 0; s < kCombineSlices; ++s) found[pass] += parts[s][column];
    found[pass] /= rows;
    __syncthreads();
  }
  if (slice == 0 && c < b.channels) {
    mean[lane * b.channels + c] = static_cast<Acc>(found[0]);
    var[lane * b.channels + c] = static_cast<Acc>(found[1]);
  }
}

/// y of the value z before the activation, to be rounded to T. NaN is not <= 0 and so passes a ReLU; a GELU is taken of z rounded to
/// T, as of the result of an op of its own.
template <Activation kActivation, class T>
__device__ inline Compute<T> activated(Compute<T> z) {
  if constexpr (kActivation == Activation::relu) return z <= 0 ? Compute<T>{0} : z;
  if constexpr (kActivation == Activation::gelu) return formula::Gelu{}(widen(narrow<T>(z)));
  return z;
}

/// A block normalises its cut. With `partials` (of few cuts) it first finds the lane's statistics from them, and the
/// first cut's block writes them to `mean` and `var`; else it reads them there.
template <class T, int kWidth, Activation kActivation>
__global__ void __launch_bounds__(kThreads)
    normalize_kernel(BatchNormBlocks b, bool aligned, BatchNormConstants<T> constants, const Compute<T>* partials,
                     Compute<T>* mean, Compute<T>* var, const T* x, T* y) {
  using Acc = Compute<T>;
  __shared__ Acc means[32 * kWidth];
  __shared__ Acc scales[32 * kWidth];
  __shared__ Acc betas[32 * kWidth];
  // Last rows first: they are what the statistics have left in the L2 cache.
  const BatchNormPlace place(b, int64_t{gridDim.x} - 1 - blockIdx.x);
  if (place.begin >= place.end) return;
  const int i = static_cast<int>(threadIdx.x);
  const int64_t c = place.first_channel + i;
  if (i < b.columns * kWidth && c < b.channels) {
    const int64_t at = place.lane * constants.lane_stride + c;
    Acc variance;
    if (partials != nullptr) {
      const double rows = static_cast<double>(b.rows_of_lane(place.lane));
      const double centre = sum_of_cuts(b, place.lane, c, partials, 0, 1, nullptr) / rows;
      means[i] = static_cast<Acc>(centre);
      variance = static_cast<Acc>(sum_of_cuts(b, place.lane, c, partials, 0, 1, &centre) / rows);
      if (place.cut == 0) {
        mean[at] = means[i];
        var[at] = variance;
      }
    } else {
      means[i] = constants.mean[at];
      variance = constants.var[at];
    }
    scales[i] = constants.scale(static_cast<double>(variance) + constants.eps, c);
    betas[i] = constants.beta.get(c, 0);
  }
  __syncthreads();
  if (place.channel >= b.channels) return;
  Acc m[kWidth], scale[kWidth], beta[kWidth];
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    const int64_t at = place.channel - place.first_channel + k;
    m[k] = means[at];
    scale[k] = scales[at];
    beta[k] = betas[at];
  }
  const auto load = [&](int64_t r) { return load_channels<T, kWidth>(x + r * b.channels + place.channel, aligned); };
  for_rows<kRowsAtOnce<T>>(place, load, [&](int64_t r, const Pack<T, kWidth>& values) {
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Acc result = activated<kActivation, T>(batch_norm_affine(widen(values.v[k]), m[k], scale[k], beta[k]));
      out.v[k] = narrow<T>(result);
    }
    store_channels(y + r * b.channels + place.channel, out, aligned);
  });
}

template <class T, int kWidth>
void normalize(Launch& l, const BatchNormSetup& setup, const BatchNormBlocks& b, const BatchNormConstants<T>& constants,
               const Compute<T>* partials, Compute<T>* mean, Compute<T>* var, const T* x) {
  T* y = l.out[0].data<T>();
  auto kernel = normalize_kernel<T, kWidth, Activation::none>;
  if (setup.options.activation == Activation::relu) kernel = normalize_kernel<T, kWidth, Activation::relu>;
  if (setup.options.activation == Activation::gelu) kernel = normalize_kernel<T, kWidth, Activation::gelu>;
  launch(l.context, "batch_norm", kernel, b.blocks(), kThreads, b, aligned16(x, y), constants, partials, mean, var, x, y);
}

/// What follows once `partials` has the moments of each cut of x.
template <class T, int kWidth>
void normalize_by_moments(Launch& l, const BatchNormSetup& setup, const BatchNormBlocks& b, const Compute<T>* partials, const T* x) {
  using Acc = Compute<T>;
  Acc *mean = l.out[1].data<Acc>(), *var = l.out[2].data<Acc>();
  if (b.cuts > kFewCuts)
    launch(l.context, "batch_norm", combine_kernel<Acc>, b.lanes * ceil_div(b.channels, 32), 32 * kCombineSlices, b, partials,
           mean, var);
  normalize<T, kWidth>(l, setup, b, constants_of<T>(setup, mean, var, b.channels, l.in.subspan(1)),
                       b.cuts > kFewCuts ? nullptr : partials, mean, var, x);
}

template <class T, int kWidth, class Index>
void pool_and_sum(Launch& l, const BatchNormBlocks& b, const Window& w, Compute<T>* partials) {
  const T* x = l.in[0].data<T>();
  T* pooled = l.out[3].data<T>();
  Index* index = l.out[4].data<Index>();
  auto kernel = pool_statistics_kernel<T, kWidth, Index, 0>;
  if constexpr (kWidth > 1 && sizeof(Index) == 1) {
    if (w.kernel == 2) kernel = pool_statistics_kernel<T, kWidth, Index, 2>;
    if (w.kernel == 3) kernel = pool_statistics_kernel<T, kWidth, Index, 3>;
  }
  launch(l.context, "max_pool_batch_norm", kernel, b.blocks(), kThreads, b, aligned16(x, pooled, index), w, x, pooled, index,
         partials);
}

}  // namespace

void batch_norm_train(Launch& l, const BatchNormSetup& setup) {
  dispatch_floating("batch_norm", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const BatchNormBlocks b = batch_norm_blocks(setup, l.in[0].spec());
    const T* x = l.in[0].data<T>();
    auto* partials = reinterpret_cast<Compute<T>*>(l.workspace.data());
    with_width_of<T>(b, [&](auto width) {
      launch(l.context, "batch_norm", statistics_kernel<T, width>, b.blocks(), kThreads, b, aligned16(x), x, partials);
      normalize_by_moments<T, width>(l, setup, b, partials, x);
    });
  });
}

void max_pool_batch_norm_train(Launch& l, const BatchNormSetup& setup, const Window& window) {
  dispatch_floating("max_pool_batch_norm", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const BatchNormBlocks b = batch_norm_blocks(setup, l.out[3].spec());
    auto* partials = reinterpret_cast<Compute<T>*>(l.workspace.data());
    with_width_of<T>(b, [&](auto width) {
      dispatch_index(window.kernel, [&](auto n) { pool_and_sum<T, width, decltype(n)>(l, b, window, partials); });
      normalize_by_moments<T, width>(l, setup, b, partials, l.out[3].data<T>());
    });
  });
}

void batch_norm_eval(Launch& l, const BatchNormSetup& setup) {
  dispatch_floating("batch_norm_eval", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const BatchNormBlocks b = batch_norm_blocks(setup, l.in[0].spec());
    const auto constants = constants_of<T>(setup, l.in[1].raw(), l.in[2].raw(), b.channels, l.in.subspan(3));
    with_width_of<T>(b, [&](auto width) { normalize<T, width>(l, setup, b, constants, nullptr, nullptr, nullptr, l.in[0].data<T>()); });
  });
}

}  // namespace tern::cuda
