#pragma once
#include <vector>

#include "core/tensor.h"

namespace tern {

/// `var(x, {.axes = {0}, .correction = 0})`.
struct Variance {
  std::vector<int> axes = {};  ///< as in Reduction
  bool keepdim = false;
  double correction = 1;  ///< 1: unbiased, 0: of the sample itself
};

/// y = sum of (x - mean)^2 / (n - correction), over n elements: two passes, the mean first. NaN or infinite where
/// n <= correction. Shapes and errors as for sum; floating dtypes only.
Tensor var(const Tensor& x, const Variance& options = {});

}  // namespace tern
