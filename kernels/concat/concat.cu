#include "kernels/common/blocks.h"
#include "kernels/common/units.cuh"

namespace tern::cuda {

/// One launch for each tensor.
void concat(Launch& launch, int axis) {
  const AxisView y = axis_view(launch.out[0].shape(), axis);
  const int64_t row = y.inner * static_cast<int64_t>(size_of(launch.out[0].dtype()));
  const int64_t pitch = y.extent * row;
  void* to = launch.out[0].raw();
  int64_t begin = 0;
  for (const Tensor& x : launch.in) {
    const int64_t bytes = x.size(axis) * row;
    const int64_t unit = unit_of(pitch | bytes | begin, x.raw(), to);
    const RowsAt rows{bytes / unit, bytes / unit, 0, pitch / unit, begin / unit};
    move_units(launch.context, "concat", unit, rows, x.raw(), to, y.outer * (bytes / unit));
    begin += bytes;
  }
}

}  // namespace tern::cuda
