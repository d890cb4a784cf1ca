#pragma once
#include "core/tensor.h"

namespace tern {

struct GlobalNorm {
  Tensor norm;       ///< f32 [1]
  Tensor found_inf;  ///< f32 [1]: 1 where x has a NaN or an infinity, else 0
};

/// The L2 norm of a flat f32 tensor, summed in f64 in one fixed order, and whether all of it is finite.
///   x [P]  ->  norm [1], found_inf [1]. Not on the tape. Throws DTypeError unless x is f32.
GlobalNorm global_norm(const Tensor& x);

}  // namespace tern
