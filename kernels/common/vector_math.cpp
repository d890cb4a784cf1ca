#include "kernels/common/vector_math.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/common/vector_math.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include "kernels/common/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {

void ExpRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return Exp(d, v); });
}
void LogRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return Log(d, v); });
}
void SqrtRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto, auto v) HWY_ATTR { return hn::Sqrt(v); });
}
void RsqrtRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return hn::Div(hn::Set(d, 1.0f), hn::Sqrt(v)); });
}
void TanhRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return Tanh(d, v); });
}
void SigmoidRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return Sigmoid(d, v); });
}
void ErfRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return Erf(d, v); });
}
void NormalCdfRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return Normal(d, v).cdf; });
}

// Where x is -infinity, x * 0 would be NaN: the limit is 0.
template <class D, class V>
HWY_INLINE V TimesTail(D d, V x, V factor) {
  return hn::IfThenElse(hn::Eq(factor, hn::Zero(d)), factor, hn::Mul(x, factor));
}

void GeluRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return TimesTail(d, v, Normal(d, v).cdf); });
}
void GeluBackwardRow(const float* dy, const float* x, float* dx, int64_t count) {
  MapRow2(dy, x, dx, count, [](auto d, auto g, auto v) HWY_ATTR {
    const auto normal = Normal(d, v);
    return hn::Mul(g, hn::Add(normal.cdf, TimesTail(d, v, normal.density)));
  });
}

// (1 + tanh(u)) / 2 = sigmoid(2u), 2u = x (k1 + k3 x^2) with k1 = 2 sqrt(2/pi), k3 = 0.044715 k1.
constexpr float kGelu1 = 1.59576912160573071f;
constexpr float kGelu3 = 0.0713548162726002528f;

void GeluTanhRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR {
    const auto slope = hn::MulAdd(hn::Mul(hn::Set(d, kGelu3), v), v, hn::Set(d, kGelu1));
    return TimesTail(d, v, Sigmoid(d, hn::Mul(v, slope)));
  });
}
void GeluTanhBackwardRow(const float* dy, const float* x, float* dx, int64_t count) {
  MapRow2(dy, x, dx, count, [](auto d, auto g, auto v) HWY_ATTR {
    const auto cubic = hn::Mul(hn::Mul(hn::Set(d, kGelu3), v), v);
    const auto s = Sigmoid(d, hn::Mul(v, hn::Add(cubic, hn::Set(d, kGelu1))));
    const auto rate = hn::Mul(v, hn::MulAdd(cubic, hn::Set(d, 3.0f), hn::Set(d, kGelu1)));
    const auto width = hn::Mul(s, hn::Sub(hn::Set(d, 1.0f), s));
    return hn::Mul(g, hn::Add(s, TimesTail(d, rate, width)));
  });
}

void SiluRow(const float* x, float* y, int64_t count) {
  MapRow(x, y, count, [](auto d, auto v) HWY_ATTR { return TimesTail(d, v, Sigmoid(d, v)); });
}
void SiluBackwardRow(const float* dy, const float* x, float* dx, int64_t count) {
  MapRow2(dy, x, dx, count, [](auto d, auto g, auto v) HWY_ATTR {
    const auto s = Sigmoid(d, v);
    const auto width = hn::Mul(s, hn::Sub(hn::Set(d, 1.0f), s));
    return hn::Mul(g, hn::Add(s, TimesTail(d, v, width)));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {

HWY_EXPORT(ExpRow);
HWY_EXPORT(LogRow);
HWY_EXPORT(SqrtRow);
HWY_EXPORT(RsqrtRow);
HWY_EXPORT(TanhRow);
HWY_EXPORT(SigmoidRow);
HWY_EXPORT(ErfRow);
HWY_EXPORT(NormalCdfRow);
HWY_EXPORT(GeluRow);
HWY_EXPORT(GeluBackwardRow);
HWY_EXPORT(GeluTanhRow);
HWY_EXPORT(GeluTanhBackwardRow);
HWY_EXPORT(SiluRow);
HWY_EXPORT(SiluBackwardRow);

namespace vector_math {

void exp(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(ExpRow)(x, y, count); }
void log(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(LogRow)(x, y, count); }
void sqrt(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(SqrtRow)(x, y, count); }
void rsqrt(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(RsqrtRow)(x, y, count); }
void tanh(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(TanhRow)(x, y, count); }
void sigmoid(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(SigmoidRow)(x, y, count); }
void erf(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(ErfRow)(x, y, count); }
void normal_cdf(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(NormalCdfRow)(x, y, count); }
void gelu(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(GeluRow)(x, y, count); }
void gelu_backward(const float* dy, const float* x, float* dx, int64_t count) {
  HWY_DYNAMIC_DISPATCH(GeluBackwardRow)(dy, x, dx, count);
}
void gelu_tanh(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(GeluTanhRow)(x, y, count); }
void gelu_tanh_backward(const float* dy, const float* x, float* dx, int64_t count) {
  HWY_DYNAMIC_DISPATCH(GeluTanhBackwardRow)(dy, x, dx, count);
}
void silu(const float* x, float* y, int64_t count) { HWY_DYNAMIC_DISPATCH(SiluRow)(x, y, count); }
void silu_backward(const float* dy, const float* x, float* dx, int64_t count) {
  HWY_DYNAMIC_DISPATCH(SiluBackwardRow)(dy, x, dx, count);
}

namespace {

template <class F>
void map(const double* x, double* y, int64_t count, const F& f) {
  for (int64_t i = 0; i < count; ++i) y[i] = f(x[i]);
}
double sigmoid_of(double x) {
  const double e = std::exp(-std::abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}
double times_tail(double x, double factor) { return factor == 0 ? factor : x * factor; }
double normal_cdf_of(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }
double normal_density_of(double x) { return 0.39894228040143267794 * std::exp(-0.5 * x * x); }
constexpr double kTanh1 = 1.5957691216057307118, kTanh3 = kTanh1 * 0.044715;
double tanh_slope(double x) { return kTanh1 + kTanh3 * x * x; }

}  // namespace

void exp(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return std::exp(v); });
}
void log(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return std::log(v); });
}
void sqrt(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return std::sqrt(v); });
}
void rsqrt(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return 1 / std::sqrt(v); });
}
void tanh(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return std::tanh(v); });
}
void sigmoid(const double* x, double* y, int64_t count) { map(x, y, count, sigmoid_of); }
void gelu(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return times_tail(v, normal_cdf_of(v)); });
}
void gelu_backward(const double* dy, const double* x, double* dx, int64_t count) {
  for (int64_t i = 0; i < count; ++i) dx[i] = dy[i] * (normal_cdf_of(x[i]) + times_tail(x[i], normal_density_of(x[i])));
}
void gelu_tanh(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return times_tail(v, sigmoid_of(v * tanh_slope(v))); });
}
void gelu_tanh_backward(const double* dy, const double* x, double* dx, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const double s = sigmoid_of(x[i] * tanh_slope(x[i]));
    dx[i] = dy[i] * (s + times_tail(x[i] * (kTanh1 + 3 * kTanh3 * x[i] * x[i]), s * (1 - s)));
  }
}
void silu(const double* x, double* y, int64_t count) {
  map(x, y, count, [](double v) { return times_tail(v, sigmoid_of(v)); });
}
void silu_backward(const double* dy, const double* x, double* dx, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const double s = sigmoid_of(x[i]);
    dx[i] = dy[i] * (s + times_tail(x[i], s * (1 - s)));
  }
}

}  // namespace vector_math
}  // namespace tern
#endif  // HWY_ONCE
