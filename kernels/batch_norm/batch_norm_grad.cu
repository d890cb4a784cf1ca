#include "core/lanes.h"
#include "kernels/batch_norm/batch_norm_device.cuh"

namespace tern::cuda {
namespace {

/// x and dy of kWidth channels of a row.
template <class T, int kWidth>
struct RowPair {
  Pack<T, kWidth> x, dy;
};

/// dL/dz of the value z before the activation. With a 16-bit T the rounded z is what it is taken of, and behind a GELU it is rounded
/// itself: as with the activation as an op of its own.
template <Activation kActivation, class T>
__device__ inline Compute<T> before_activation(T x, T dy, Compute<T> mean, Compute<T> scale, Compute<T> beta) {
  const Compute<T> g = widen(dy);
  if constexpr (kActivation == Activation::none) return g;
  const Compute<T> z = widen(narrow<T>(batch_norm_affine(widen(x), mean, scale, beta)));
  if constexpr (kActivation == Activation::gelu) return widen(narrow<T>(formula::GeluBackward{}(g, z)));
  return z <= 0 ? Compute<T>{0} : g;
}

/// The constants of a block's channels in shared memory; a barrier must follow.
template <class Acc, int kWidth>
struct SharedAffine {
  Acc mean[32 * kWidth], scale[32 * kWidth], beta[32 * kWidth];
};

template <class T, int kWidth>
__device__ inline void fill(SharedAffine<Compute<T>, kWidth>& affine, int i, const BatchNormConstants<T>& constants,
                            int64_t lane, int64_t c) {
  affine.mean[i] = constants.mean[lane * constants.lane_stride + c];
  affine.scale[i] = constants.scale(constants.variance(lane, c), c);
  affine.beta[i] = constants.beta.get(c, 0);
}

/// A block sums dz and dz * (x - mean) over its cut: [lane][cut][2][channels]. Behind a GELU it writes dz, too.
template <class T, int kWidth, Activation kActivation>
__global__ void __launch_bounds__(kThreads) grad_sums_kernel(BatchNormBlocks b, bool aligned, BatchNormConstants<T> constants,
                                                             const T* x, const T* dy, T* dz, Compute<T>* partials) {
  using Acc = Compute<T>;
  __shared__ SharedAffine<Acc, kWidth> affine;
  const BatchNormPlace place(b, blockIdx.x);
  if (place.begin >= place.end) return;
  const int i = static_cast<int>(threadIdx.x);
  if (i < b.columns * kWidth && place.first_channel + i < b.channels)
    fill(affine, i, constants, place.lane, place.first_channel + i);
  __syncthreads();
  Acc sums[2 * kWidth] = {};
  if (place.channel < b.channels) {
    Acc mean[kWidth], scale[kWidth], beta[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const int64_t at = place.channel - place.first_channel + k;
      mean[k] = affine.mean[at];
      scale[k] = affine.scale[at];
      beta[k] = affine.beta[at];
    }
    const auto load = [&](int64_t r) {
      const int64_t at = r * b.channels + place.channel;
      return RowPair<T, kWidth>{load_channels<T, kWidth>(x + at, aligned), load_channels<T, kWidth>(dy + at, aligned)};
    };
    for_rows<kRowsAtOnce<T> / 2>(place, load, [&](int64_t r, const RowPair<T, kWidth>& row) {
      Pack<T, kWidth> before;
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const Acc g = before_activation<kActivation>(row.x.v[k], row.dy.v[k], mean[k], scale[k], beta[k]);
        before.v[k] = narrow<T>(g);
        sums[k] += g;
        sums[kWidth + k] = fma(g, widen(row.x.v[k]) - mean[k], sums[kWidth + k]);
      }
      if constexpr (kActivation == Activation::gelu) store_channels(dz + r * b.channels + place.channel, before, aligned);
    });
  }
  Acc* out = partials + (place.lane * b.cuts + place.cut) * 2 * b.channels;
  column_sum(b.columns, sums, [&](int column, int k, double total) {
    const int64_t c = place.first_channel + column * kWidth + k % kWidth;
    if (c < b.channels) out[(k < kWidth ? 0 : b.channels) + c] = static_cast<Acc>(total);
  });
}

constexpr int kSlices = 32;

/// A block adds up many cuts: 32 of a lane's 2 * channels sums, 32 threads each. -> [lane][2][channels]
template <class Acc>
__global__ void __launch_bounds__(32 * kSlices) add_cuts_kernel(BatchNormBlocks b, const Acc* partials, Acc* sums) {
  __shared__ double parts[kSlices][32];
  const int64_t length = 2 * b.channels, groups = (length + 31) / 32, lane = int64_t{blockIdx.x} / groups;
  const int column = static_cast<int>(threadIdx.x) % 32, slice = static_cast<int>(threadIdx.x) / 32;
  const int64_t i = int64_t{blockIdx.x} % groups * 32 + column;
  double sum = 0;
  if (i < length) {
#pragma unroll 4
    for (int cut = slice; cut < b.cuts; cut += kSlices) {
      if (b.rows_of_cut(lane, cut) == 0) break;
      sum += static_cast<double>(partials[(lane * b.cuts + cut) * length + i]);
    }
  }
  parts[slice][column] = sum;
  __syncthreads();
  if (slice != 0 || i >= length) return;
  double total = 0;
  for (int s = 0; s < kSlices; ++s) total += parts[s][column];
  sums[lane * length + i] = static_cast<Acc>(total);
}

/// The sums of a lane, in parts: those of its few cuts, or one that has been added up.
template <class Acc>
struct LaneSums {
  const Acc* parts;  ///< [lane][count][2][channels]
  int count;

  /// which 0: of dz; 1: of dz * (x - mean).
  __device__ double get(const BatchNormBlocks& b, int64_t lane, int which, int64_t c) const {
    double sum = 0;
    for (int part = 0; part < count; ++part) {
      if (count > 1 && b.rows_of_cut(lane, part) == 0) break;
      sum += static_cast<double>(parts[((lane * count + part) * 2 + which) * b.channels + c]);
    }
    return sum;
  }
};

template <class T>
struct ParameterGradients {
  BatchNormParameter<T> dgamma, dbeta;
};

/// The canonical tree (core/lanes.h) from left to right: sums of 1, 2, 4.. leaves wait for their neighbour, as the
/// digits of a binary counter do.
template <class Acc, class Leaf>
__device__ inline Acc tree_of_lanes(int64_t lanes, const Leaf& leaf) {
  Acc waiting[32];
  int depth = 0;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    waiting[depth++] = leaf(lane);
    for (int64_t n = lane + 1; n % 2 == 0; n /= 2) {
      --depth;
      waiting[depth - 1] += waiting[depth];
    }
  }
  while (depth > 1) {
    --depth;
    waiting[depth - 1] += waiting[depth];
  }
  return waiting[0];
}

template <class T>
__device__ inline void write_parameter_gradients(const BatchNormBlocks& b, const BatchNormConstants<T>& constants,
                                                 const LaneSums<Compute<T>>& sums, const ParameterGradients<T>& out,
                                                 int64_t c) {
  using Acc = Compute<T>;
  out.dgamma.set(c, tree_of_lanes<Acc>(b.lanes, [&](int64_t lane) {
    return static_cast<Acc>(sums.get(b, lane, 1, c) / sqrt(constants.variance(lane, c)));
  }));
  out.dbeta.set(c, tree_of_lanes<Acc>(b.lanes, [&](int64_t lane) { return static_cast<Acc>(sums.get(b, lane, 0, c)); }));
}

/// A thread writes dgamma and dbeta of a channel: for a backward pass without dx.
template <class T>
__global__ void __launch_bounds__(kThreads)
    parameter_grad_kernel(BatchNormBlocks b, BatchNormConstants<T> constants, LaneSums<Compute<T>> sums,
                          ParameterGradients<T> out) {
  const int64_t c = first_index();
  if (c < b.channels) write_parameter_gradients(b, constants, sums, out, c);
}

/// A block writes dx of its cut: scale * (dz - offset - (x - mean) * slope), where offset is the mean of dz and slope
/// that of dz * (x - mean) over the variance; both zero where the statistics are constants. Blocks of the very first cut
/// also write dgamma and dbeta of their channels.
template <class T, int kWidth, Activation kActivation>
__global__ void __launch_bounds__(kThreads)
    grad_kernel(BatchNormBlocks b, bool aligned, bool training, BatchNormConstants<T> constants,
                LaneSums<Compute<T>> sums, ParameterGradients<T> parameters, const T* x, const T* dy, T* dx) {
  using Acc = Compute<T>;
  __shared__ SharedAffine<Acc, kWidth> affine;
  __shared__ Acc offsets[32 * kWidth];
  __shared__ Acc slopes[32 * kWidth];
  // Last rows first: they are what the sums have left in the L2 cache.
  const BatchNormPlace place(b, int64_t{gridDim.x} - 1 - blockIdx.x);
  if (place.begin >= place.end) return;
  const int i = static_cast<int>(threadIdx.x);
  const int64_t c = place.first_channel + i;
  if (i < b.columns * kWidth && c < b.channels) {
    fill(affine, i, constants, place.lane, c);
    const double rows = static_cast<double>(b.rows_of_lane(place.lane));
    offsets[i] = training ? static_cast<Acc>(sums.get(b, place.lane, 0, c) / rows) : Acc{0};
    slopes[i] = training ? static_cast<Acc>(sums.get(b, place.lane, 1, c) / (constants.variance(place.lane, c) * rows))
                         : Acc{0};
    if (place.lane == 0 && place.cut == 0) write_parameter_gradients(b, constants, sums, parameters, c);
  }
  __syncthreads();
  if (place.channel >= b.channels) return;
  Acc mean[kWidth], scale[kWidth], beta[kWidth], offset[kWidth], slope[kWidth];
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    const int64_t at = place.channel - place.first_channel + k;
    mean[k] = affine.mean[at];
    scale[k] = affine.scale[at];
    beta[k] = affine.beta[at];
    offset[k] = offsets[at];
    slope[k] = slopes[at];
  }
  const auto load = [&](int64_t r) {
    const int64_t at = r * b.channels + place.channel;
    return RowPair<T, kWidth>{load_channels<T, kWidth>(x + at, aligned), load_channels<T, kWidth>(dy + at, aligned)};
  };
  for_rows<kRowsAtOnce<T> / 2>(place, load, [&](int64_t r, const RowPair<T, kWidth>& row) {
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Acc g = before_activation<kActivation>(row.x.v[k], row.dy.v[k], mean[k], scale[k], beta[k]);
      const Acc dz = training ? fma(mean[k] - widen(row.x.v[k]), slope[k], g - offset[k]) : g;
      out.v[k] = narrow<T>(scale[k] * dz);
    }
    store_channels(dx + r * b.channels + place.channel, out, aligned);
  });
}

template <class T, int kWidth, Activation kActivation>
void run_grad(Launch& l, const BatchNormSetup& setup, const BatchNormBlocks& b) {
  using Acc = Compute<T>;
  const T *x = l.in[0].data<T>(), *dy = l.in[1].data<T>();
  Acc* partials = reinterpret_cast<Acc*>(l.workspace.data());
  const auto constants = constants_of<T>(setup, l.in[2].raw(), l.in[3].raw(), b.channels, l.in.subspan(4));
  const ParameterGradients<T> parameters{parameter_of<T>(l.out[0]), parameter_of<T>(l.out[1])};
  constexpr bool kGelu = kActivation == Activation::gelu;
  T* dx = l.out.size() < 3 ? nullptr : l.out[2].data<T>();
  const bool aligned = aligned16(x, dy, dx);
  launch(l.context, "batch_norm_grad", grad_sums_kernel<T, kWidth, kActivation>, b.blocks(), kThreads, b, aligned, constants, x,
         dy, dx, partials);
  LaneSums<Acc> sums{partials, b.cuts};
  if (b.cuts > kFewCuts) {
    Acc* added = reinterpret_cast<Acc*>(l.workspace.data() + b.partial_bytes());
    launch(l.context, "batch_norm_grad", add_cuts_kernel<Acc>, b.lanes * ceil_div(2 * b.channels, 32), 32 * kSlices, b,
           partials, added);
    sums = {added, 1};
  }
  if (dx == nullptr) {
    launch(l.context, "batch_norm_grad", parameter_grad_kernel<T>, ceil_div(b.channels, kThreads), kThreads, b, constants,
           sums, parameters);
    return;
  }
  launch(l.context, "batch_norm_grad", grad_kernel<T, kWidth, kGelu ? Activation::none : kActivation>, b.blocks(), kThreads, b,
         aligned, setup.training, constants, sums, parameters, x, kGelu ? dx : dy, dx);
}

}  // namespace

void batch_norm_grad(Launch& l, const BatchNormSetup& setup) {
  dispatch_floating("batch_norm_grad", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const BatchNormBlocks b = batch_norm_blocks(setup, l.in[0].spec());
    with_width_of<T>(b, [&](auto width) {
      switch (setup.options.activation) {
        case Activation::none: return run_grad<T, width, Activation::none>(l, setup, b);
        case Activation::relu: return run_grad<T, width, Activation::relu>(l, setup, b);
        case Activation::gelu: return run_grad<T, width, Activation::gelu>(l, setup, b);
      }
    });
  });
}

}  // namespace tern::cuda
