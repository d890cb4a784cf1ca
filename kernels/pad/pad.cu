#include "kernels/common/blocks.h"
#include "kernels/common/units.cuh"
#include "kernels/pad/border.h"

namespace tern::cuda {
namespace {

/// Rows of `length` units with `before` zeros in front and some behind, `pitch` in all.
struct ZeroPadded {
  int64_t length, before, pitch;
  __device__ Place operator()(int64_t i) const {
    const int64_t row = i / pitch, column = i - row * pitch - before;
    return {column < 0 || column >= length ? -1 : row * length + column, i};
  }
};

/// `extent` rows of `inner` units become `padded`: beyond the first and the last they go back.
struct Reflected {
  int64_t extent, before, padded, inner;
  __device__ Place operator()(int64_t i) const {
    const int64_t row = i / inner, outer = row / padded;
    const int64_t at = row - outer * padded - before;
    const int64_t mirrored = at < 0 ? -at : (at < extent ? at : 2 * (extent - 1) - at);
    return {(outer * extent + mirrored) * inner + (i - row * inner), i};
  }
};

/// A thread adds up one element of dx: its own of dy and its at most two mirror images.
template <class T>
__global__ void fold_kernel(AxisView x, Border border, const T* dy, T* dx) {
  const int64_t count = x.outer * x.extent * x.inner, padded = border.before + x.extent + border.after;
  for (int64_t k = first_index(); k < count; k += grid_step()) {
    const int64_t row = k / x.inner, outer = row / x.extent;
    const int64_t i = row - outer * x.extent, right = x.extent - 1 - i;  // distances from the two edges
    const T* base = dy + (outer * padded + border.before) * x.inner + (k - row * x.inner);
    Compute<T> sum = widen(base[i * x.inner]);
    if (i >= 1 && i <= border.before) sum += widen(base[-i * x.inner]);
    if (right >= 1 && right <= border.after) sum += widen(base[(x.extent - 1 + right) * x.inner]);
    dx[k] = narrow<T>(sum);
  }
}

}  // namespace

void pad(Launch& launch, const Border& border) {
  const AxisView x = axis_view(launch.in[0].shape(), border.axis), y = axis_view(launch.out[0].shape(), border.axis);
  const void* from = launch.in[0].raw();
  void* to = launch.out[0].raw();
  const int64_t row = x.inner * static_cast<int64_t>(size_of(launch.in[0].dtype()));
  if (border.mode == PadMode::reflect) {
    const int64_t unit = unit_of(row, from, to), inner = row / unit;
    const Reflected reflected{x.extent, border.before, y.extent, inner};
    return move_units(launch.context, "pad", unit, reflected, from, to, y.outer * y.extent * inner);
  }
  const int64_t length = x.extent * row, before = border.before * row, pitch = y.extent * row;
  const int64_t unit = unit_of(length | before | pitch, from, to);
  move_units(launch.context, "pad", unit, ZeroPadded{length / unit, before / unit, pitch / unit}, from, to,
             y.outer * (pitch / unit));
}

void pad_reflect_grad(Launch& launch, const Border& border) {
  dispatch_floating("pad_reflect_grad", launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* dy = launch.in[0].data<T>();
    tern::cuda::launch(launch.context, "pad_reflect_grad", fold_kernel<T>, blocks_for(launch.context, launch.out[0].numel()),
                       kThreads, axis_view(launch.out[0].shape(), border.axis), border, dy, launch.out[0].data<T>());
  });
}

}  // namespace tern::cuda
