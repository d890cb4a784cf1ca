#pragma once
#include "kernels/common/formulas.h"
#include "kernels/elementwise_chain/chain_step.h"

/// A chain as its kernels on both devices read it.
namespace tern {

inline constexpr int kMaxChainSteps = 8;
inline constexpr int kMaxChainInputs = 4;

/// Numbers are rounded to the type that is computed in, as the ops alone do.
template <class C>
struct ChainProgram {
  struct Step {
    StepCode code;
    int8_t a, b;
    C low, high;
  };
  int steps = 0;
  int inputs = 0;
  int64_t count = 0;                     ///< elements of the output
  int64_t period[kMaxChainInputs] = {};  ///< elements of an input: `count`, or fewer that repeat along the output
  Step step[kMaxChainSteps] = {};
};

/// Calls `visit(formula)` with the formula of a step.
template <class Step, class Visit>
TERN_HOST_DEVICE inline void visit_formula(const Step& step, const Visit& visit) {
  switch (step.code) {
    case StepCode::add: return visit(formula::Add{});
    case StepCode::sub: return visit(formula::Sub{});
    case StepCode::mul: return visit(formula::Mul{});
    case StepCode::div: return visit(formula::Div{});
    case StepCode::maximum: return visit(formula::Maximum{});
    case StepCode::minimum: return visit(formula::Minimum{});
    case StepCode::neg: return visit(formula::Neg{});
    case StepCode::abs: return visit(formula::Abs{});
    case StepCode::relu: return visit(formula::Relu{});
    case StepCode::clamp: return visit(formula::Clamp{step.low, step.high});
    case StepCode::sqrt: return visit(formula::Sqrt{});
    case StepCode::rsqrt: return visit(formula::Rsqrt{});
    case StepCode::exp: return visit(formula::Exp{});
    case StepCode::log: return visit(formula::Log{});
    case StepCode::tanh: return visit(formula::Tanh{});
    case StepCode::sigmoid: return visit(formula::Sigmoid{});
    case StepCode::silu: return visit(formula::Silu{});
    case StepCode::gelu: return visit(formula::Gelu{});
    case StepCode::gelu_tanh: return visit(formula::GeluTanh{});
    case StepCode::relu_backward: return visit(formula::ReluBackward{});
    case StepCode::clamp_backward: return visit(formula::ClampBackward{step.low, step.high});
    case StepCode::tanh_backward: return visit(formula::TanhBackward{});
    case StepCode::sigmoid_backward: return visit(formula::SigmoidBackward{});
    case StepCode::silu_backward: return visit(formula::SiluBackward{});
    case StepCode::gelu_backward: return visit(formula::GeluBackward{});
    case StepCode::gelu_tanh_backward: return visit(formula::GeluTanhBackward{});
  }
}

/// f(a, b), or f(a) where f has one operand.
template <class F, class C>
TERN_HOST_DEVICE inline C evaluate(const F& f, C a, C b) {
  if constexpr (requires { f(a, b); })
    return f(a, b);
  else
    return f(a);
}

}  // namespace tern
