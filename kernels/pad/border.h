#pragma once
#include <cstdint>

#include "kernels/pad/pad.h"

namespace tern {

/// The border of one axis; a border of several axes is one of these an axis.
struct Border {
  int axis = 0;
  int64_t before = 0, after = 0;
  PadMode mode = PadMode::zero;
};

}  // namespace tern
