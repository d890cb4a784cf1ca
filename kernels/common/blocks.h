#pragma once
#include <cstdint>
#include <cstring>

#include "core/shape.h"
#include "kernels/common/parallel.h"

/// For ops that move elements: a tensor seen from one axis, as [outer, extent, inner]. They move bytes, so one piece of
/// code serves every dtype.
namespace tern {

struct AxisView {
  int64_t outer = 1, extent = 1, inner = 1;
};

inline AxisView axis_view(const Shape& shape, int axis) {
  AxisView view{.extent = shape[axis]};
  for (int i = 0; i < axis; ++i) view.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) view.inner *= shape[i];
  return view;
}

/// Calls `move(row)` for 0..rows-1 on the pool, many rows to a task where they have few bytes.
template <class Move>
void move_rows(Context& context, int64_t rows, int64_t bytes_per_row, const Move& move) {
  const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 16) / std::max<int64_t>(1, bytes_per_row));
  for_chunks(context, rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) move(row);
  }, chunk);
}

inline void copy_bytes(std::byte* to, const std::byte* from, int64_t count) { std::memcpy(to, from, static_cast<size_t>(count)); }

}  // namespace tern
