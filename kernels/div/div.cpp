#include "kernels/div/div.h"

#include "kernels/common/elementwise.h"
#include "kernels/common/scalar_op.h"
#include "kernels/mul/mul.h"
#include "kernels/neg/neg.h"

namespace tern {
namespace {

class Div final : public BinaryOp<Div> {
 public:
  using BinaryOp::BinaryOp;
  std::string_view name() const override { return "div"; }
  template <class C>
  C eval(C a, C b) const {
    return a / b;
  }
  Saves saves(GradMask needs) const override { return {.inputs = GradMask(2), .outputs = GradMask(needs[1] ? 1 : 0)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor share = div(dy[0], node.input(1));
    return {node.needs(0) ? reduce_to_input(node, 0, share) : Tensor{},
            node.needs(1) ? neg(reduce_to_input(node, 1, mul(share, node.output(0)))) : Tensor{}};
  }
};

class DivNumber final : public ScalarOp<DivNumber> {
 public:
  using ScalarOp::ScalarOp;
  std::string_view name() const override { return "div_number"; }
  template <class C>
  C eval(C x, C number) const {
    return x / number;
  }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override { return {div(dy[0], number())}; }
};

class NumberDiv final : public ScalarOp<NumberDiv> {
 public:
  using ScalarOp::ScalarOp;
  std::string_view name() const override { return "number_div"; }
  template <class C>
  C eval(C x, C number) const {
    return number / x;
  }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = GradMask(1)}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {neg(mul(div(dy[0], node.input(0)), node.output(0)))};
  }
};

}  // namespace

Tensor div(const Tensor& a, const Tensor& b) { return apply_binary<Div>(a, b); }
Tensor div(const Tensor& x, double number) { return apply_one(std::make_shared<DivNumber>(number), {x}); }
Tensor div(double number, const Tensor& x) { return apply_one(std::make_shared<NumberDiv>(number), {x}); }

}  // namespace tern
