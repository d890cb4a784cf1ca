#include "kernels/common/blocks.h"
#include "kernels/common/units.cuh"

namespace tern::cuda {
namespace {

struct Flipped {
  int64_t extent, inner;
  __device__ Place operator()(int64_t i) const {
    const int64_t row = i / inner, outer = row / extent;
    const int64_t mirrored = outer * extent + (extent - 1 - (row - outer * extent));
    return {mirrored * inner + (i - row * inner), i};
  }
};

}  // namespace

void flip(Launch& launch, int axis) {
  const AxisView x = axis_view(launch.in[0].shape(), axis);
  const void* from = launch.in[0].raw();
  void* to = launch.out[0].raw();
  const int64_t row = x.inner * static_cast<int64_t>(size_of(launch.in[0].dtype()));
  const int64_t unit = unit_of(row, from, to);
  move_units(launch.context, "flip", unit, Flipped{x.extent, row / unit}, from, to, x.outer * x.extent * (row / unit));
}

}  // namespace tern::cuda
