#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x summed over the axes along which `shape` broadcasts to x's: the gradient of broadcasting.
///   x [...]  shape: trailing axes of x's, each equal or 1  ->  y of that shape, dtype of x
/// With lane_size m > 0 and axis 0 of x summed, rows [i*m, min((i+1)*m, N)) are summed alone for each lane i and the
/// lanes are then added in the canonical tree (core/lanes.h): a folded batch gives the bits of its lanes one by one.
/// Sums as kernels/sum does. Returns x where the shapes are equal. Throws ShapeError when x does not sum to `shape`.
Tensor sum_to(const Tensor& x, const Shape& shape, int64_t lane_size = 0);

}  // namespace tern
