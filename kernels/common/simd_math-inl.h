// f32 functions on Highway vectors, for kernels that are compiled once a target: include after <hwy/foreach_target.h>.
//
// Each function is one fixed sequence of IEEE operations on every element, so that a value does not depend on its place
// in a vector, the vector's width, or the tail. Errors below are in units in the last place against the exact value,
// over all finite floats; tests/simd_math_test.cpp measures them. NaN gives NaN; infinities and denormals are exact
// cases. Polynomials are Taylor's where the argument is small enough, else minimax fits in f64 (erf, erfcx).
#if defined(TERN_KERNELS_COMMON_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TERN_KERNELS_COMMON_SIMD_MATH_INL_H_
#undef TERN_KERNELS_COMMON_SIMD_MATH_INL_H_
#else
#define TERN_KERNELS_COMMON_SIMD_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule.
template <class D, size_t N, class V = hn::Vec<D>>
HWY_INLINE V Polynomial(D d, V x, const float (&c)[N]) {
  V result = hn::Set(d, c[N - 1]);
  for (size_t i = N - 1; i-- > 0;) result = hn::MulAdd(result, x, hn::Set(d, c[i]));
  return result;
}

/// 2^n as a float, -126 <= n <= 127.
template <class D, class VI>
HWY_INLINE hn::Vec<D> PowerOfTwo(D d, VI n) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V NanWhere(D d, V nan_source, V value) {
  static_cast<void>(d);
  return hn::IfThenElse(hn::IsNaN(nan_source), nan_source, value);
}

/// x = n ln 2 + r with |r| <= ln(2)/2: n, r, and e^r - 1.
template <class D>
struct ReducedExp {
  hn::Vec<hn::RebindToSigned<D>> n;
  hn::Vec<D> expm1;
};
template <class D, class V = hn::Vec<D>>
HWY_INLINE ReducedExp<D> ReduceExp(D d, V x) {
  const auto n = hn::NearestInt(hn::Mul(x, hn::Set(d, 1.44269504088896341f)));
  const V k = hn::ConvertTo(d, n);
  // ln 2 in two floats: the first product is exact enough for the fused subtraction to be exact.
  V r = hn::NegMulAdd(k, hn::Set(d, 0.693147182464599609375f), x);
  r = hn::NegMulAdd(k, hn::Set(d, -1.904654299957768e-9f), r);
  constexpr float kTaylor[] = {1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720, 1.0f / 5040};
  return {n, hn::MulAdd(hn::Mul(r, r), Polynomial(d, r, kTaylor), r)};
}

/// e^x for -170 <= x <= 89: infinity above 88.72, 0 below -103.97. 1.1 ulp.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpBounded(D d, V x) {
  const auto reduced = ReduceExp(d, x);
  // 2^n in two factors: n may reach 128 or leave the normal range, and only the last product rounds to a denormal.
  const auto half = hn::ShiftRight<1>(reduced.n);
  const V y = hn::Mul(hn::Add(reduced.expm1, hn::Set(d, 1.0f)), PowerOfTwo(d, half));
  return hn::Mul(y, PowerOfTwo(d, hn::Sub(reduced.n, half)));
}

/// e^x, 1.1 ulp; below -103.97 0, above 88.72 infinity.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  return NanWhere(d, x, ExpBounded(d, hn::Min(hn::Max(x, hn::Set(d, -105.0f)), hn::Set(d, 89.0f))));
}

/// e^x - 1 for -87 <= x <= 87, 1.7 ulp.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Expm1Bounded(D d, V x) {
  const auto reduced = ReduceExp(d, x);
  const V scale = PowerOfTwo(d, reduced.n);
  return hn::MulAdd(scale, reduced.expm1, hn::Sub(scale, hn::Set(d, 1.0f)));
}

/// Natural logarithm, 1 ulp; 0 gives -infinity, negative numbers NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V one = hn::Set(d, 1.0f);
  const auto denormal = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const V normal = hn::IfThenElse(denormal, hn::Mul(x, hn::Set(d, 0x1p25f)), x);
  // normal = 2^e m with sqrt(1/2) <= m < sqrt(2): the subtraction carries into the exponent at sqrt(1/2).
  const auto bits = hn::Sub(hn::BitCast(di, normal), hn::Set(di, 0x3f3504f3));
  const V e = hn::Sub(hn::ConvertTo(d, hn::ShiftRight<23>(bits)), hn::IfThenElseZero(denormal, hn::Set(d, 25.0f)));
  const V m = hn::BitCast(d, hn::Add(hn::And(bits, hn::Set(di, 0x7fffff)), hn::Set(di, 0x3f3504f3)));
  // ln(1+f) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f/(2+f), R the rest of 2 artanh(s)/s: f itself stays exact.
  const V f = hn::Sub(m, one);
  const V s = hn::Div(f, hn::Add(f, hn::Set(d, 2.0f)));
  const V z = hn::Mul(s, s);
  constexpr float kArtanh[] = {2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9};
  const V square = hn::Mul(hn::Mul(hn::Set(d, 0.5f), f), f);
  const V rest = hn::Mul(s, hn::MulAdd(z, Polynomial(d, z, kArtanh), square));
  const V low = hn::MulAdd(e, hn::Set(d, -1.904654299957768e-9f), rest);
  V y = hn::MulAdd(e, hn::Set(d, 0.693147182464599609375f), hn::Add(hn::Sub(low, square), f));
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Set(d, -std::numeric_limits<float>::infinity()), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), y);
  return hn::IfThenElse(hn::Le(x, hn::Set(d, std::numeric_limits<float>::max())), y, hn::Abs(x));  // inf, NaN
}

/// Hyperbolic tangent, 2.4 ulp.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V bounded = hn::Min(hn::Abs(x), hn::Set(d, 10.0f));  // 1 from 9.02 on
  const V t = Expm1Bounded(d, hn::Add(bounded, bounded));
  return NanWhere(d, x, hn::CopySign(hn::Div(t, hn::Add(t, hn::Set(d, 2.0f))), x));
}

/// 1 / (1 + e^-x), 2.5 ulp, also where it is denormal.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V e = ExpBounded(d, hn::Max(hn::Neg(hn::Abs(x)), hn::Set(d, -105.0f)));
  return NanWhere(d, x, hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e)));
}

/// e^(x^2) erfc(x) for x >= 0, 1.5 ulp up to 10.2 (where erfc is 0).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfcxPositive(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.4f), x, one));
  // Minimax in t - 1/2, relative error 8.3e-9.
  constexpr float kFit[] = {0.42161272777f,   0.643721385291f,  0.726262610973f,  0.548014828922f,  0.181509188578f,
                            -0.107792543856f, -0.122994171642f, 0.0269104852015f, 0.0644768126223f, -0.0292057801333f};
  return hn::Mul(t, Polynomial(d, hn::Sub(t, hn::Set(d, 0.5f)), kFit));
}

/// e^-(a b) with the rounding of the product put right; 0 <= a b <= 170.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpOfMinusProduct(D d, V a, V b) {
  const V product = hn::Mul(a, b);
  const V rounding = hn::MulSub(a, b, product);
  const V e = ExpBounded(d, hn::Neg(product));
  return hn::NegMulAdd(e, rounding, e);
}

/// erf(x) for |x| <= 0.9.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfSmall(D d, V x) {
  // Minimax of erf(x)/x in x^2, relative error 1.2e-8.
  constexpr float kFit[] = {1.1283791538f,     -0.376125232764f,  0.112821408139f,
                            -0.0267789089844f, 0.00501196291347f, -0.000609036043267f};
  return hn::Mul(x, Polynomial(d, hn::Mul(x, x), kFit));
}

/// Error function, 2.5 ulp.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Erf(D d, V x) {
  const V a = hn::Min(hn::Abs(x), hn::Set(d, 4.0f));  // 1 from 3.92 on
  const V small = ErfSmall(d, a);
  const V large = hn::NegMulAdd(ExpOfMinusProduct(d, a, a), ErfcxPositive(d, a), hn::Set(d, 1.0f));
  const V y = hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.9f)), small, large);
  return NanWhere(d, x, hn::CopySign(y, x));
}

/// The standard normal distribution: P(X <= x), and its density where asked for.
template <class D>
struct NormalAt {
  hn::Vec<D> cdf, density;
};
/// The probability has 6 ulp, also in the lower tail.
template <class D, class V = hn::Vec<D>>
HWY_INLINE NormalAt<D> Normal(D d, V x) {
  const V a = hn::Min(hn::Abs(x), hn::Set(d, 15.0f));  // the tail is 0 from 14.2 on
  const V e = ExpOfMinusProduct(d, hn::Mul(hn::Set(d, 0.5f), a), a);
  const V root_half = hn::Set(d, 0.707106781186547524f);
  const V scaled = ErfcxPositive(d, hn::Mul(a, root_half));
  const V tail = hn::Mul(hn::Mul(hn::Set(d, 0.5f), scaled), e);
  const V half = hn::Set(d, 0.5f);
  const V outside = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
  const V middle = hn::MulAdd(half, ErfSmall(d, hn::Mul(x, root_half)), half);
  const V cdf = hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.7f)), middle, outside);
  return {NanWhere(d, x, cdf), NanWhere(d, x, hn::Mul(e, hn::Set(d, 0.398942280401432678f)))};
}

/// y[i] = f(d, x[i]) for i < count: full vectors, then one padded with zeros, so that tails get the body's arithmetic.
template <class F>
HWY_INLINE void MapRow(const float* x, float* y, int64_t count, const F& f) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
  if (i == count) return;
  HWY_ALIGN float pad[hn::MaxLanes(d)] = {};
  for (int64_t j = i; j < count; ++j) pad[j - i] = x[j];
  hn::Store(f(d, hn::Load(d, pad)), d, pad);
  for (int64_t j = i; j < count; ++j) y[j] = pad[j - i];
}

/// z[i] = f(d, x[i], y[i]) in the same way.
template <class F>
HWY_INLINE void MapRow2(const float* x, const float* y, float* z, int64_t count, const F& f) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, z + i);
  if (i == count) return;
  HWY_ALIGN float a[hn::MaxLanes(d)] = {}, b[hn::MaxLanes(d)] = {};
  for (int64_t j = i; j < count; ++j) {
    a[j - i] = x[j];
    b[j - i] = y[j];
  }
  hn::Store(f(d, hn::Load(d, a), hn::Load(d, b)), d, a);
  for (int64_t j = i; j < count; ++j) z[j] = a[j - i];
}

}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();
#endif
