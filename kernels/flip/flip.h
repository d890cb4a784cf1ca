#pragma once
#include <initializer_list>

#include "core/tensor.h"

namespace tern {

/// y = x with the elements along each of `axes` in reverse order. Any dtype. Throws ShapeError for an axis out of range.
Tensor flip(const Tensor& x, std::initializer_list<int> axes);

}  // namespace tern
