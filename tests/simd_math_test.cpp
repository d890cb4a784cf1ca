// The f32 functions of kernels/common/simd_math-inl.h against the standard library in f64, and their independence of
// place, length and alignment.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/common/vector_math.h"
#include "tests/catch.h"

namespace tern {
namespace {

using Row = void (*)(const float*, float*, int64_t);

struct Function {
  const char* name;
  Row row;
  double (*exact)(double);
  double limit;  ///< ulp
};

double exact_sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double exact_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

const Function kFunctions[] = {
    {"exp", vector_math::exp, std::exp, 1.1},    {"log", vector_math::log, std::log, 1.0},
    {"tanh", vector_math::tanh, std::tanh, 2.4}, {"sigmoid", vector_math::sigmoid, exact_sigmoid, 2.5},
    {"erf", vector_math::erf, std::erf, 2.5},    {"normal_cdf", vector_math::normal_cdf, exact_cdf, 6.0},
};

/// Every 251st float of both signs: all exponents, denormals, zeros and infinities included.
std::vector<float> sweep() {
  std::vector<float> values;
  for (uint32_t bits = 0; bits <= 0x7f800000u; bits += 251) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(std::bit_cast<float>(bits | 0x80000000u));
  }
  for (int i = -2000; i <= 2000; ++i) values.push_back(static_cast<float>(i) * 0.0625f);
  for (float v : {0.0f, 1.0f, 88.7228f, 88.73f, 103.97f, 103.98f, 0.9f, std::numeric_limits<float>::infinity(),
                  std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()}) {
    values.push_back(v);
    values.push_back(-v);
  }
  return values;
}

/// |got - want| in the spacing of floats at want (at least the denormals' spacing).
double ulps(float got, double want) {
  const double magnitude = std::max(std::abs(want), static_cast<double>(std::numeric_limits<float>::min()));
  return std::abs(static_cast<double>(got) - want) / std::ldexp(1.0, std::ilogb(magnitude) - 23);
}

}  // namespace

TEST_CASE("simd math: f32 functions are within their ulp of the exact values for all floats", "[simd_math]") {
  const std::vector<float> x = sweep();
  std::vector<float> y(x.size());
  for (const Function& f : kFunctions) {
    DYNAMIC_SECTION(f.name) {
      f.row(x.data(), y.data(), static_cast<int64_t>(x.size()));
      double worst = 0;
      float where = 0;
      int wrong_special = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = f.exact(x[i]);
        const float nearest = static_cast<float>(want);
        if (std::isnan(want) || std::isinf(nearest)) {
          wrong_special += std::isnan(want) ? !std::isnan(y[i]) : y[i] != nearest;
          continue;
        }
        if (const double error = ulps(y[i], want); !(error <= worst)) {
          worst = error;
          where = x[i];
        }
      }
      INFO("worst " << worst << " ulp at " << where);
      CHECK(worst <= f.limit);
      CHECK(wrong_special == 0);
    }
  }
}

TEST_CASE("simd math: NaN gives NaN, zeros keep their sign", "[simd_math]") {
  const std::vector<float> x = {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                                -0.0f};
  for (const Function& f : kFunctions) {
    std::vector<float> y(x.size());
    f.row(x.data(), y.data(), 3);
    INFO(f.name);
    CHECK(std::isnan(y[0]));
    CHECK(std::isnan(y[1]));
    CHECK(y[2] == static_cast<float>(f.exact(-0.0)));
    if (f.exact(0.0) == 0) CHECK(std::signbit(y[2]));
  }
}

TEST_CASE("simd math: an element's bits do not depend on its place, the row's length or alignment", "[simd_math]") {
  std::vector<float> x(200);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.093f * static_cast<float>(i) - 7.3f;
  std::vector<float> whole(x.size()), part(x.size());
  std::vector<Row> rows = {vector_math::gelu, vector_math::gelu_tanh, vector_math::silu};
  for (const Function& f : kFunctions) rows.push_back(f.row);
  for (Row row : rows) {
    row(x.data(), whole.data(), static_cast<int64_t>(x.size()));
    for (size_t begin = 0; begin < 20; ++begin)
      for (size_t count = 1; count <= 40; ++count) {
        row(x.data() + begin, part.data(), static_cast<int64_t>(count));
        REQUIRE(std::memcmp(part.data(), whole.data() + begin, count * sizeof(float)) == 0);
      }
  }
}

}  // namespace tern
