#include "kernels/common/blocks.h"
#include "kernels/common/units.cuh"

namespace tern::cuda {

void slice(Launch& launch, int axis, int64_t begin) {
  const AxisView x = axis_view(launch.in[0].shape(), axis), y = axis_view(launch.out[0].shape(), axis);
  const void* from = launch.in[0].raw();
  void* to = launch.out[0].raw();
  const int64_t row = x.inner * static_cast<int64_t>(size_of(launch.in[0].dtype()));
  const int64_t unit = unit_of((x.extent * row) | (y.extent * row) | (begin * row), from, to);
  const int64_t length = y.extent * row / unit;
  const RowsAt rows{length, x.extent * row / unit, begin * row / unit, length, 0};
  move_units(launch.context, "slice", unit, rows, from, to, y.outer * length);
}

}  // namespace tern::cuda
