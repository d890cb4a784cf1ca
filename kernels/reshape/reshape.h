#pragma once
#include <initializer_list>

#include "core/tensor.h"

namespace tern {

/// y = the elements of x, row-major, in another shape: a view, nothing is copied. Any dtype.
/// One extent may be -1: it becomes what the element count leaves. Throws ShapeError when the counts differ.
Tensor reshape(const Tensor& x, std::initializer_list<int64_t> extents);
Tensor reshape(const Tensor& x, const Shape& shape);

/// y = x with the axes from `first_axis` on made one: [N,H,W,C] -> [N,H*W*C]. A view.
Tensor flatten(const Tensor& x, int first_axis = 1);

}  // namespace tern
