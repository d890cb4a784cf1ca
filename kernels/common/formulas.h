#pragma once
#include <cmath>

#include "core/rng.h"  // TERN_HOST_DEVICE

/// What elementwise ops compute of one element, once for both devices. C is the type that is computed in: float, double
/// and, where nothing speaks against it, an integer type. NaN passes through. The CPU has vectorised f32 forms of those
/// under "transcendental" (kernels/common/vector_math.h).
namespace tern::formula {

// Arithmetic.

struct Add {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return static_cast<C>(a + b);
  }
};

struct Sub {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return static_cast<C>(a - b);
  }
};

struct Mul {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return static_cast<C>(a * b);
  }
};

struct Div {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return a / b;
  }
};

/// `F` with its two arguments exchanged: number - x, number / x.
template <class F>
struct Reversed {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return F{}(b, a);
  }
};

/// a / b, 0 where b is 0.
struct SafeDiv {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return b == C{0} ? C{0} : a / b;
  }
};

struct Neg {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return -x;
  }
};

struct Abs {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return std::abs(x);
  }
};

/// -1, 0 or 1.
struct Sign {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    const C not_positive = x < C{0} ? C{-1} : x;
    return x > C{0} ? C{1} : not_positive;
  }
};

// Comparisons.

struct Maximum {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    const C chosen = a > b ? a : b;  // b where either is NaN
    return a != a ? a : chosen;
  }
};

struct Minimum {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    const C chosen = a < b ? a : b;  // b where either is NaN
    return a != a ? a : chosen;
  }
};

/// 1 where a == b, else 0.
struct EqualMask {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return a == b ? C{1} : C{0};
  }
};

/// The share of a gradient that a gets as the larger one: 1, 0.5 where they are equal, 0; 1 where either is NaN.
struct LargerWeight {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    const C unless_equal = a < b ? C{0} : C{1};
    return a == b ? C(0.5) : unless_equal;
  }
};

struct Relu {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return x <= C{0} ? C{0} : x;
  }
};

struct ReluBackward {
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C y) const {
    return y <= C{0} ? C{0} : dy;
  }
};

struct Clamp {
  double low, high;
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    const C below = static_cast<C>(low), above = static_cast<C>(high);
    const C raised = x < below ? below : x;
    return raised > above ? above : raised;
  }
};

/// dy where x is within the bounds (or NaN), else 0.
struct ClampBackward {
  double low, high;
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C x) const {
    const C unless_below = x < static_cast<C>(low) ? C{0} : dy;
    return x > static_cast<C>(high) ? C{0} : unless_below;
  }
};

// Powers.

struct Pow {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return std::pow(a, b);
  }
};

/// b a^(b-1), 0 where b is 0.
struct PowByBase {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return b == C{0} ? C{0} : b * std::pow(a, b - C{1});
  }
};

/// a^b ln a, 0 where a is 0 and b is not negative.
struct PowByExponent {
  template <class C>
  TERN_HOST_DEVICE C operator()(C a, C b) const {
    return a == C{0} && b >= C{0} ? C{0} : std::pow(a, b) * std::log(a);
  }
};

/// x^exponent for an exponent that is one number.
struct PowNumber {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x, C exponent) const {
    return exponent == C{2} ? x * x : std::pow(x, exponent);
  }
};

struct Sqrt {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return std::sqrt(x);
  }
};

struct Rsqrt {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return C{1} / std::sqrt(x);
  }
};

// Transcendental: f64 on the CPU, f32 and f64 on a GPU.

struct Exp {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return std::exp(x);
  }
};

struct Log {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return std::log(x);
  }
};

struct Tanh {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return std::tanh(x);
  }
};

/// dy d(tanh)/dx in terms of y = tanh(x).
struct TanhBackward {
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C y) const {
    return dy * (C{1} - y * y);
  }
};

struct Sigmoid {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    const C e = std::exp(-std::abs(x));
    return (x < C{0} ? e : C{1}) / (C{1} + e);
  }
};

/// dy d(sigmoid)/dx in terms of y = sigmoid(x).
struct SigmoidBackward {
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C y) const {
    return dy * (y * (C{1} - y));
  }
};

/// x * factor where factor has gone to 0: also for x = -infinity, where the product would be NaN.
template <class C>
TERN_HOST_DEVICE C times_tail(C x, C factor) {
  return factor == C{0} ? factor : x * factor;
}

/// x sigmoid(x).
struct Silu {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return times_tail(x, Sigmoid{}(x));
  }
};

struct SiluBackward {
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C x) const {
    const C s = Sigmoid{}(x);
    return dy * (s + times_tail(x, s * (C{1} - s)));
  }
};

/// P(X <= x) of the standard normal distribution.
struct NormalCdf {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return C(0.5) * std::erfc(-x * C(0.70710678118654752440));
  }
};

/// x Phi(x).
struct Gelu {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return times_tail(x, NormalCdf{}(x));
  }
};

struct GeluBackward {
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C x) const {
    const C density = C(0.39894228040143267794) * std::exp(C(-0.5) * x * x);
    return dy * (NormalCdf{}(x) + times_tail(x, density));
  }
};

// (1 + tanh(u)) / 2 = sigmoid(2u), 2u = x (k1 + k3 x^2) with k1 = 2 sqrt(2/pi), k3 = 0.044715 k1.
inline constexpr double kGeluTanh1 = 1.5957691216057307118, kGeluTanh3 = kGeluTanh1 * 0.044715;

/// x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
struct GeluTanh {
  template <class C>
  TERN_HOST_DEVICE C operator()(C x) const {
    return times_tail(x, Sigmoid{}(x * (C(kGeluTanh1) + C(kGeluTanh3) * x * x)));
  }
};

struct GeluTanhBackward {
  template <class C>
  TERN_HOST_DEVICE C operator()(C dy, C x) const {
    const C s = Sigmoid{}(x * (C(kGeluTanh1) + C(kGeluTanh3) * x * x));
    const C rate = x * (C(kGeluTanh1) + C(3 * kGeluTanh3) * x * x);
    return dy * (s + times_tail(rate, s * (C{1} - s)));
  }
};

}  // namespace tern::formula
