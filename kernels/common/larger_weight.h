#pragma once
#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"

namespace tern {
namespace cuda {
void larger_weight(Launch& launch);  // larger_weight.cu
}

/// The share of a gradient that a gets as the larger one of a and b: 1, 0.5 where they are equal, 0; 1 where either is
/// NaN. Off the tape: it is piecewise constant.
class LargerWeight final : public BinaryOp<LargerWeight> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "larger_weight"; }
  bool differentiable() const override { return false; }
  static constexpr formula::LargerWeight eval{};
  void run_cuda(Launch& launch) const { cuda::larger_weight(launch); }
};

inline Tensor larger_weight(const Tensor& a, const Tensor& b) { return apply_binary<LargerWeight>(a, b); }

}  // namespace tern
