#pragma once
#include "core/tensor.h"

namespace tern {

/// y = x w^T + bias: the fully connected layer. The bias is added last, to the finished sum.
///   x [N,..,in]  w [out,in]  bias [out]  ->  y [N,..,out]; one floating dtype; accumulates in f32 (f64 for f64)
/// A row of y depends on its row of x alone, bit for bit. Gradients of w and bias are per lane (linear_wgrad).
/// Throws ShapeError when x and w have different `in`.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias);
Tensor linear(const Tensor& x, const Tensor& w);

}  // namespace tern
