#pragma once
#include "kernels/common/elementwise.h"

namespace tern {

/// The share of a gradient that a gets as the larger one of a and b: 1, 0.5 where they are equal, 0; 1 where either is
/// NaN. Off the tape: it is piecewise constant.
class LargerWeight final : public BinaryOp<LargerWeight> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "larger_weight"; }
  bool differentiable() const override { return false; }
  template <class C>
  C eval(C a, C b) const {
    const C unless_equal = a < b ? C{0} : C{1};
    return a == b ? C(0.5) : unless_equal;
  }
};

inline Tensor larger_weight(const Tensor& a, const Tensor& b) { return apply_binary<LargerWeight>(a, b); }

}  // namespace tern
