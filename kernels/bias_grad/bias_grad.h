#pragma once
#include <optional>

#include "core/tensor.h"

namespace tern {

struct BiasGrad {
  std::optional<int64_t> lane_size;  ///< pictures in a lane, 0: one lane; nothing: the context's
};

/// db = dy summed over all axes but the last: the gradient of a bias that was added to rows or pixels.
///   dy [N,..,K]  ->  db [K]; floating dtypes; accumulates in f32 (f64 for f64)
/// A picture's rows are summed alone in blocks of a fixed length, then a lane's pictures in order, then the lanes in the
/// canonical tree (core/lanes.h).
Tensor bias_grad(const Tensor& dy, BiasGrad options = {});

}  // namespace tern
