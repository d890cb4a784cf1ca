#pragma once
#include <cstdint>

/// Functions over rows of floats, vectorised for the machine at hand (kernels/common/simd_math-inl.h gives their
/// errors); and the same over doubles, by the standard library. x == y is allowed.
namespace tern::vector_math {

void exp(const float* x, float* y, int64_t count);
void log(const float* x, float* y, int64_t count);
void sqrt(const float* x, float* y, int64_t count);
void rsqrt(const float* x, float* y, int64_t count);
void tanh(const float* x, float* y, int64_t count);
void sigmoid(const float* x, float* y, int64_t count);
void erf(const float* x, float* y, int64_t count);
void normal_cdf(const float* x, float* y, int64_t count);

/// x Phi(x), and dy d(x Phi(x))/dx.
void gelu(const float* x, float* y, int64_t count);
void gelu_backward(const float* dy, const float* x, float* dx, int64_t count);
/// x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, and dy times its derivative.
void gelu_tanh(const float* x, float* y, int64_t count);
void gelu_tanh_backward(const float* dy, const float* x, float* dx, int64_t count);
/// x sigmoid(x), and dy times its derivative.
void silu(const float* x, float* y, int64_t count);
void silu_backward(const float* dy, const float* x, float* dx, int64_t count);

void exp(const double* x, double* y, int64_t count);
void log(const double* x, double* y, int64_t count);
void sqrt(const double* x, double* y, int64_t count);
void rsqrt(const double* x, double* y, int64_t count);
void tanh(const double* x, double* y, int64_t count);
void sigmoid(const double* x, double* y, int64_t count);
void gelu(const double* x, double* y, int64_t count);
void gelu_backward(const double* dy, const double* x, double* dx, int64_t count);
void gelu_tanh(const double* x, double* y, int64_t count);
void gelu_tanh_backward(const double* dy, const double* x, double* dx, int64_t count);
void silu(const double* x, double* y, int64_t count);
void silu_backward(const double* dy, const double* x, double* dx, int64_t count);

}  // namespace tern::vector_math
