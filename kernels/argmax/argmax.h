#pragma once
#include "core/tensor.h"

namespace tern {

/// `argmax(logits, {.axis = -1})`.
struct Argmax {
  int axis = -1;
  bool keepdim = false;
};

/// The index of the largest element along an axis: the first of equal ones; the first NaN where there is one.
///   x [..., n, ...] any dtype  ->  i64, without the axis (keepdim: with extent 1)
/// Not differentiable. Throws ShapeError for an axis out of range or an empty x.
Tensor argmax(const Tensor& x, const Argmax& options = {});

}  // namespace tern
