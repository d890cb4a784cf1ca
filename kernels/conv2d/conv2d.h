#pragma once
#include "core/tensor.h"
#include "kernels/common/pair.h"

namespace tern {

/// How the filter moves over the picture: pixels of x between neighbours of y, zeros put around x on each side, pixels
/// of x between neighbours of the filter, and parts that the channels are cut into, each with filters of its own.
struct Conv2d {
  Pair stride = 1;
  Pair padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
};

/// y = conv2d(x, w [, bias]): cross-correlation,
///   y[n,p,q,k] = bias[k] + sum over r,s,c of x[n, p*stride.h - padding.h + r*dilation.h, ..., c] w[k,r,s,c].
///   x [N,H,W,C]  w [K,R,S,C/groups]  bias [K]  ->  y [N,P,Q,K], dtype of x
///   P = (H + 2*padding.h - dilation.h*(R-1) - 1) / stride.h + 1, likewise Q.
/// f32, f64, f16, bf16. Accumulates in f32 (f64 for f64), from the bias on over r, s, c without the taps that fall on padding, in chains of
/// about 96 fused multiply-adds; most 3x3 filters in f32 on the CPU by Winograd's F(2x2, 3x3) instead. Bits do not depend on the batch.
/// Throws ShapeError when ranks, channels or groups do not fit, an extent is 0, or the filter is larger than the padded
/// picture; DTypeError when dtypes differ; ConfigError for an option out of range.
Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2d& options = {});
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2d& options = {});

/// dL/dx of conv2d. `picture` is H, W of x: several sizes have the same P, Q.
///   dy [N,P,Q,K]  w [K,R,S,C/groups]  ->  dx [N,H,W,C]
Tensor conv2d_dgrad(const Tensor& dy, const Tensor& w, Pair picture, const Conv2d& options = {});

/// dL/dw of conv2d, lane by lane (Context::lane_size) and summed in the canonical tree. `filter` is R, S of w.
///   x [N,H,W,C]  dy [N,P,Q,K]  ->  dw [K,R,S,C/groups]
Tensor conv2d_wgrad(const Tensor& x, const Tensor& dy, Pair filter, const Conv2d& options = {});

}  // namespace tern
