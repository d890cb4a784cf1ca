#pragma once
#include "kernels/batch_norm/batch_norm_blocks.h"
#include "kernels/common/column_sum.cuh"
#include "kernels/common/formulas.h"

/// What the kernels of batch_norm.cu and batch_norm_grad.cu share. They are bound by memory: 16 bytes of neighbouring
/// channels a thread, several rows under way at once.
namespace tern::cuda {

/// Cuts of a lane that every block adds up for itself; more are added up by a kernel of their own.
inline constexpr int kFewCuts = 16;
/// Rows that a thread has under way.
template <class T>
inline constexpr int kRowsAtOnce = sizeof(T) == 2 ? 4 : 8;

/// The part of the batch that a block works on, and the thread's place in it.
struct BatchNormPlace {
  int64_t lane, cut;
  int64_t begin, end;     ///< the block's rows
  int64_t first_channel;  ///< the block's
  int64_t row, channel;   ///< the thread's first
  int step;               ///< rows from one of the thread's to the next

  __device__ BatchNormPlace(const BatchNormBlocks& b, int64_t block) {
    const int thread = static_cast<int>(threadIdx.x);
    first_channel = block % b.groups * (b.columns * b.width);
    cut = block / b.groups % b.cuts;
    lane = block / b.groups / b.cuts;
    begin = lane * b.lane_rows + cut * b.cut_rows;
    end = begin + b.rows_of_cut(lane, cut);
    step = kThreads / b.columns;
    row = begin + thread / b.columns;
    channel = first_channel + thread % b.columns * b.width;
  }
};

/// The kWidth elements at `from`; `aligned` says that they may be read at once. The values are the same either way.
template <class T, int kWidth>
__device__ inline Pack<T, kWidth> load_channels(const T* from, bool aligned) {
  Pack<T, kWidth> pack;
  if constexpr (kWidth > 1) {
    if (aligned) return load_pack<T, kWidth>(from);
  }
#pragma unroll
  for (int k = 0; k < kWidth; ++k) pack.v[k] = from[k];
  return pack;
}

template <class T, int kWidth>
__device__ inline void store_channels(T* to, const Pack<T, kWidth>& pack, bool aligned) {
  if constexpr (kWidth > 1) {
    if (aligned) return store_pack(to, pack);
  }
#pragma unroll
  for (int k = 0; k < kWidth; ++k) to[k] = pack.v[k];
}

/// Calls `use(row, load(row))` for the thread's rows, loading kAtOnce of them before the first is used.
template <int kAtOnce, class Load, class Use>
__device__ inline void for_rows(const BatchNormPlace& place, const Load& load, const Use& use) {
  int64_t r = place.row;
  for (; r + (kAtOnce - 1) * place.step < place.end; r += kAtOnce * place.step) {
    decltype(load(r)) values[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) values[i] = load(r + i * place.step);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) use(r + i * place.step, values[i]);
  }
  for (; r < place.end; r += place.step) use(r, load(r));
}

/// gamma, beta or their gradients: of x's dtype, or as wide as the arithmetic.
template <class T>
struct BatchNormParameter {
  void* data = nullptr;  ///< null: not there
  bool wide = true;

  __device__ Compute<T> get(int64_t c, Compute<T> otherwise) const {
    if (data == nullptr) return otherwise;
    return wide ? static_cast<const Compute<T>*>(data)[c] : widen(static_cast<const T*>(data)[c]);
  }
  __device__ void set(int64_t c, Compute<T> value) const {
    if (wide) static_cast<Compute<T>*>(data)[c] = value;
    else static_cast<T*>(data)[c] = narrow<T>(value);
  }
};

template <class T>
BatchNormParameter<T> parameter_of(const Tensor& tensor) {
  return {tensor.raw(), tensor.dtype() == dtype_of<Compute<T>>};
}

/// Statistics and parameters as the op got them.
template <class T>
struct BatchNormConstants {
  const Compute<T>* mean;
  const Compute<T>* var;
  int64_t lane_stride;  ///< from a lane's statistics to the next one's; 0: all lanes share them
  BatchNormParameter<T> gamma, beta;
  double eps;

  __device__ double variance(int64_t lane, int64_t c) const {
    return static_cast<double>(var[lane * lane_stride + c]) + eps;
  }
  __device__ Compute<T> scale(double variance, int64_t c) const {
    return static_cast<Compute<T>>(static_cast<double>(gamma.get(c, 1)) / sqrt(variance));
  }
};

/// `inputs`: [gamma], [beta].
template <class T>
BatchNormConstants<T> constants_of(const BatchNormSetup& setup, const void* mean, const void* var, int64_t channels,
                                   std::span<const Tensor> inputs) {
  BatchNormConstants<T> c{static_cast<const Compute<T>*>(mean), static_cast<const Compute<T>*>(var),
                          setup.training ? channels : 0, {}, {}, setup.options.eps};
  if (setup.has_gamma) c.gamma = parameter_of<T>(inputs[0]);
  if (setup.has_beta) c.beta = parameter_of<T>(inputs[setup.has_gamma ? 1 : 0]);
  return c;
}

/// One channel's map to the value before the activation. Forward and backward use the same, so that the mask of a ReLU
/// is found again from x bit by bit.
template <class Acc>
__device__ inline Acc batch_norm_affine(Acc x, Acc mean, Acc scale, Acc beta) {
  return fma(x - mean, scale, beta);
}

/// Calls `f(std::integral_constant<int, width>)` for the width that the blocks were cut for.
template <class T, class F>
void with_width_of(const BatchNormBlocks& b, const F& f) {
  b.width == 1 ? f(std::integral_constant<int, 1>()) : f(std::integral_constant<int, kPackWidth<T>>());
}

}  // namespace tern::cuda
