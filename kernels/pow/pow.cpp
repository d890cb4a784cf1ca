#include "kernels/pow/pow.h"

#include "kernels/add/add.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/formulas.h"
#include "kernels/common/scalar_op.h"
#include "kernels/log/log.h"
#include "kernels/mul/mul.h"
#include "kernels/sub/sub.h"

namespace tern {
namespace cuda {  // pow.cu
void pow(Launch& launch);
void pow_by_base(Launch& launch);
void pow_by_exponent(Launch& launch);
void pow_number(Launch& launch, double number);
}
namespace {

Tensor pow_by_base(const Tensor& a, const Tensor& b);
Tensor pow_by_exponent(const Tensor& a, const Tensor& b);

class Pow final : public BinaryOp<Pow> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "pow"; }
  static constexpr formula::Pow eval{};
  void run_cuda(Launch& launch) const { cuda::pow(launch); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(3), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor a = node.input(0), b = node.input(1);
    return {node.needs(0) ? reduce_to_input(node, 0, mul(dy[0], pow_by_base(a, b))) : Tensor{},
            node.needs(1) ? reduce_to_input(node, 1, mul(dy[0], pow_by_exponent(a, b))) : Tensor{}};
  }
};

/// d(a^b)/da and d(a^b)/db have one mixed derivative: a^(b-1) (1 + b ln a).
Tensor pow_mixed(const Tensor& a, const Tensor& b) {
  const Tensor below = sub(b, 1.0);
  return add(pow(a, below), mul(b, pow_by_exponent(a, below)));
}

/// b a^(b-1), 0 where b is 0.
class PowByBase final : public BinaryOp<PowByBase> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "pow_by_base"; }
  static constexpr formula::PowByBase eval{};
  void run_cuda(Launch& launch) const { cuda::pow_by_base(launch); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor a = node.input(0), b = node.input(1);
    std::vector<Tensor> result(2);
    if (node.needs(0)) result[0] = reduce_to_input(node, 0, mul(dy[0], mul(b, pow_by_base(a, sub(b, 1.0)))));
    if (node.needs(1)) result[1] = reduce_to_input(node, 1, mul(dy[0], pow_mixed(a, b)));
    return result;
  }
};

/// a^b ln a, 0 where a is 0 and b is not negative.
class PowByExponent final : public BinaryOp<PowByExponent> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "pow_by_exponent"; }
  static constexpr formula::PowByExponent eval{};
  void run_cuda(Launch& launch) const { cuda::pow_by_exponent(launch); }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor a = node.input(0), b = node.input(1);
    std::vector<Tensor> result(2);
    if (node.needs(0)) result[0] = reduce_to_input(node, 0, mul(dy[0], pow_mixed(a, b)));
    if (node.needs(1)) result[1] = reduce_to_input(node, 1, mul(dy[0], mul(pow_by_exponent(a, b), log(a))));
    return result;
  }
};

Tensor pow_by_base(const Tensor& a, const Tensor& b) { return apply_binary<PowByBase>(a, b); }
Tensor pow_by_exponent(const Tensor& a, const Tensor& b) { return apply_binary<PowByExponent>(a, b); }

class PowNumber final : public ScalarOp<PowNumber> {
 public:
  using ScalarOp::ScalarOp;
  std::string_view name() const override { return "pow_number"; }
  static constexpr formula::PowNumber eval{};
  void run_cuda(Launch& launch) const { cuda::pow_number(launch, number()); }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    if (number() == 0) return {Tensor{}};  // a constant, also at x = 0 where x^-1 is infinite
    return {mul(mul(dy[0], number()), pow(node.input(0), number() - 1))};
  }
};

}  // namespace

Tensor pow(const Tensor& x, double exponent) { return apply_one(std::make_shared<PowNumber>(exponent), {x}); }
Tensor pow(const Tensor& a, const Tensor& b) { return apply_binary<Pow>(a, b); }

}  // namespace tern
