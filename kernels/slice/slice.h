#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x[.., begin:end, ..] along `axis`: a view for the leading axis, a copy for others. Any dtype.
/// Throws ShapeError unless 0 <= begin < end <= the extent.
Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end);

}  // namespace tern
