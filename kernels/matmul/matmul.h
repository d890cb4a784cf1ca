#pragma once
#include "core/tensor.h"

namespace tern {

struct MatMul {
  bool transpose_a = false;  ///< a is [..,K,M]
  bool transpose_b = false;  ///< b is [..,N,K]
};

/// y = op(a) op(b): the matrix product, batched over the leading axes, which broadcast.
///   a [..,M,K]  b [..,K,N]  ->  y [..,M,N]; one floating dtype; accumulates in f32 (f64 for f64)
/// A row of y depends on its row of op(a) and on b alone, bit for bit. An operand that is broadcast gets the gradient
/// summed over the batch in order, not lane by lane: a layer's weights want linear() instead.
/// Throws ShapeError when the inner extents or the leading axes do not fit.
Tensor matmul(const Tensor& a, const Tensor& b, MatMul options = {});

}  // namespace tern
