#include "kernels/common/blocks.h"
#include "kernels/common/units.cuh"

namespace tern::cuda {
namespace {

/// Row m comes from row indices[m] of `extent`. An index outside stops the kernel: DeviceError at the next wait.
struct Gathered {
  const int64_t* indices;
  int64_t picked, extent, inner;
  __device__ Place operator()(int64_t i) const {
    const int64_t row = i / inner, outer = row / picked;
    const int64_t index = indices[row - outer * picked];
    if (index < 0 || index >= extent) __trap();
    return {(outer * extent + index) * inner + (i - row * inner), i};
  }
};

/// A thread sums one element of dx over the indices that name its row, in their order.
template <class T>
__global__ void scatter_add_kernel(AxisView dy, int64_t extent, const int64_t* indices, const T* from, T* dx) {
  const int64_t count = dy.outer * extent * dy.inner;
  for (int64_t k = first_index(); k < count; k += grid_step()) {
    const int64_t row = k / dy.inner, outer = row / extent;
    const int64_t wanted = row - outer * extent;
    const T* column = from + outer * dy.extent * dy.inner + (k - row * dy.inner);
    Compute<T> sum = 0;
    for (int64_t m = 0; m < dy.extent; ++m) {
      const int64_t index = indices[m];
      if (index < 0 || index >= extent) __trap();
      if (index == wanted) sum += widen(column[m * dy.inner]);
    }
    dx[k] = narrow<T>(sum);
  }
}

}  // namespace

void gather(Launch& launch, int axis) {
  const AxisView x = axis_view(launch.in[0].shape(), axis), y = axis_view(launch.out[0].shape(), axis);
  const void* from = launch.in[0].raw();
  void* to = launch.out[0].raw();
  const int64_t row = x.inner * static_cast<int64_t>(size_of(launch.in[0].dtype()));
  const int64_t unit = unit_of(row, from, to), inner = row / unit;
  const Gathered gathered{launch.in[1].data<int64_t>(), y.extent, x.extent, inner};
  move_units(launch.context, "gather", unit, gathered, from, to, y.outer * y.extent * inner);
}

void scatter_add(Launch& launch, int axis) {
  const AxisView dy = axis_view(launch.in[0].shape(), axis);
  const int64_t extent = launch.out[0].size(axis);
  dispatch_floating("scatter_add", launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    tern::cuda::launch(launch.context, "scatter_add", scatter_add_kernel<T>,
                       blocks_for(launch.context, launch.out[0].numel()), kThreads, dy, extent,
                       launch.in[1].data<int64_t>(), launch.in[0].data<T>(), launch.out[0].data<T>());
  });
}

}  // namespace tern::cuda
