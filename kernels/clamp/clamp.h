#pragma once
#include <limits>

#include "core/tensor.h"

namespace tern {

/// Bounds of clamp.
struct Clamp {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

/// y = min(max(x, low), high); NaN stays NaN. The gradient passes where low <= x <= high.
/// Throws ConfigError when low > high. Floating dtypes (DTypeError); throws ShapeError when x is empty.
Tensor clamp(const Tensor& x, const Clamp& bounds);

}  // namespace tern
