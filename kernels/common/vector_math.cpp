#include "kernels/common/vector_math.h"

#include "kernels/common/formulas.h"

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

constexpr float kGelu1 = static_cast<float>(formula::kGeluTanh1);
constexpr float kGelu3 = static_cast<float>(formula::kGeluTanh3);

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
template <class F>
void map(const double* x, const double* y, double* z, int64_t count, const F& f) {
  for (int64_t i = 0; i < count; ++i) z[i] = f(x[i], y[i]);
}

}  // namespace

void exp(const double* x, double* y, int64_t count) { map(x, y, count, formula::Exp{}); }
void log(const double* x, double* y, int64_t count) { map(x, y, count, formula::Log{}); }
void sqrt(const double* x, double* y, int64_t count) { map(x, y, count, formula::Sqrt{}); }
void rsqrt(const double* x, double* y, int64_t count) { map(x, y, count, formula::Rsqrt{}); }
void tanh(const double* x, double* y, int64_t count) { map(x, y, count, formula::Tanh{}); }
void sigmoid(const double* x, double* y, int64_t count) { map(x, y, count, formula::Sigmoid{}); }
void gelu(const double* x, double* y, int64_t count) { map(x, y, count, formula::Gelu{}); }
void gelu_backward(const double* dy, const double* x, double* dx, int64_t count) {
  map(dy, x, dx, count, formula::GeluBackward{});
}
void gelu_tanh(const double* x, double* y, int64_t count) { map(x, y, count, formula::GeluTanh{}); }
void gelu_tanh_backward(const double* dy, const double* x, double* dx, int64_t count) {
  map(dy, x, dx, count, formula::GeluTanhBackward{});
}
void silu(const double* x, double* y, int64_t count) { map(x, y, count, formula::Silu{}); }
void silu_backward(const double* dy, const double* x, double* dx, int64_t count) {
  map(dy, x, dx, count, formula::SiluBackward{});
}

}  // namespace vector_math
}  // namespace tern
#endif  // HWY_ONCE
