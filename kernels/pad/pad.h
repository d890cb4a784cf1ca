#pragma once
#include <vector>

#include "core/tensor.h"

namespace tern {

enum class PadMode {
  zero,
  reflect,  ///< mirrored about the edge element, which is not repeated: 1 2 3 -> 3 2 1 2 3 2 1
};

struct Pad {
  std::vector<int64_t> before = {};  ///< elements to add in front, one number an axis
  std::vector<int64_t> after = {};   ///< and behind
  PadMode mode = PadMode::zero;
};

/// y = x with a border, as numpy.pad: Pad{.before = {0, 4, 4, 0}, .after = {0, 4, 4, 0}} adds 4 pixels around NHWC
/// pictures. Any dtype (gradients: floating ones).
/// Throws ShapeError for negative numbers, or reflections as long as the axis or longer.
Tensor pad(const Tensor& x, const Pad& options);

}  // namespace tern
