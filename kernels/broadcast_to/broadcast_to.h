#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x repeated to `shape` by NumPy's rules. Any dtype; a copy. Returns x where the shapes are equal.
/// Throws ShapeError when x does not broadcast to `shape`.
Tensor broadcast_to(const Tensor& x, const Shape& shape);

/// The same with x's elements read as if x had shape `view` (same count): spreads a reduction's result, whose reduced
/// axes are gone, over the input again.
Tensor broadcast_to(const Tensor& x, const Shape& view, const Shape& shape);

}  // namespace tern
