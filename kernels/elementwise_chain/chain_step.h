#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "core/op.h"

/// What an elementwise op says of itself, so that plans can merge it with its neighbours (elementwise_chain.h).
namespace tern {

/// A formula of kernels/common/formulas.h.
// clang-format off
enum class StepCode : uint8_t {
  add, sub, mul, div, maximum, minimum,
  neg, abs, relu, clamp, sqrt, rsqrt, exp, log, tanh, sigmoid, silu, gelu, gelu_tanh,
  relu_backward, clamp_backward, tanh_backward, sigmoid_backward, silu_backward, gelu_backward, gelu_tanh_backward,
};
// clang-format on

/// y = code(a, b), for one element of each.
struct ChainStep {
  /// What an operand is, besides the index of an input.
  static constexpr int kPrevious = -1;  ///< the result of the step before
  static constexpr int kNumber = -2;    ///< `low`

  StepCode code;
  int a = 0;
  int b = 0;                 ///< as `a` where the formula has one operand
  double low = 0, high = 0;  ///< a number that is an operand, or clamp's bounds

  /// f(x), f(x, y), f(x, number) and f(number, x) of an op's inputs x and y.
  static ChainStep unary(StepCode code) { return {code}; }
  static ChainStep binary(StepCode code) { return {code, 0, 1}; }
  static ChainStep with_number(StepCode code, double number) { return {code, 0, kNumber, number}; }
  static ChainStep number_first(StepCode code, double number) { return {code, kNumber, 0, number}; }
};

/// Base of the elementwise ops.
class ChainMember {
 public:
  virtual ~ChainMember() = default;
  /// The op as a step; none: it is never part of a chain.
  virtual std::optional<ChainStep> chain_step() const { return std::nullopt; }
};

/// Op::fusion_rule of elementwise ops: makes an ElementwiseChain of two ops, or of a chain and an op.
std::shared_ptr<const Op> fuse_elementwise(const FusionPair& pair);

}  // namespace tern
