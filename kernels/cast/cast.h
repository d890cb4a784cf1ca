#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x as `dtype`; any dtypes. Returns x where it has the dtype already.
/// To floats: rounds to nearest, ties to even. Floats to integers: truncates; out of range gives the nearest end of the
/// range, NaN 0. Integers to narrower integers wrap. The gradient, for floats to floats, is cast back.
/// Throws ShapeError when x is empty.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace tern
