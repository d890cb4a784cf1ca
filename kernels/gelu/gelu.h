#pragma once
#include "core/tensor.h"

namespace tern {

/// Which GELU: `gelu(x, {.approximate = Gelu::tanh})`.
struct Gelu {
  enum Approximate { none, tanh };
  Approximate approximate = none;
};

/// y = x Phi(x), Phi the standard normal distribution (exact, by erf); or
/// y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
/// Floating dtypes (DTypeError); throws ShapeError when x is empty.
/// Ref: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
Tensor gelu(const Tensor& x, const Gelu& options = {});

/// dx = dy times the derivative at x; shapes equal.
Tensor gelu_backward(const Tensor& dy, const Tensor& x, const Gelu& options = {});

}  // namespace tern
