#include <bit>
#include <cmath>
#include <limits>

#include "core/dtype.h"
#include "core/error.h"
#include "core/shape.h"
#include "tests/catch.h"

namespace tern {
namespace {

/// The nearest value of a format with `bits` of significand and a smallest exponent, by exact arithmetic in double.
double round_to(double value, int bits, int smallest_exponent) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::max(std::ilogb(value), smallest_exponent);
  const double unit = std::ldexp(1.0, exponent - bits + 1);
  return std::nearbyint(value / unit) * unit;  // ties to even
}

}  // namespace

TEST_CASE("dtype: f16 and bf16 hold every one of their values exactly", "[core]") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    Half h;
    h.bits = static_cast<uint16_t>(bits);
    BFloat16 b;
    b.bits = static_cast<uint16_t>(bits);
    const auto hf = static_cast<float>(h), bf = static_cast<float>(b);
    if (std::isnan(hf))
      REQUIRE(std::isnan(static_cast<float>(Half(hf))));
    else
      REQUIRE(Half(hf).bits == bits);
    if (std::isnan(bf))
      REQUIRE(std::isnan(static_cast<float>(BFloat16(bf))));
    else
      REQUIRE(BFloat16(bf).bits == bits);
  }
}

TEST_CASE("dtype: conversion from f32 rounds to nearest, ties to even", "[core]") {
  for (uint32_t i = 0; i < 400000; ++i) {
    const auto value = std::bit_cast<float>(i * 10739u);
    if (std::isnan(value)) continue;
    const double half = round_to(value, 11, -14), brain = round_to(value, 8, -126);
    const auto got = static_cast<double>(static_cast<float>(Half(value)));
    if (std::abs(half) >= 65536) REQUIRE(std::isinf(got));
    else REQUIRE(got == half);
    if (std::abs(brain) < 3.38e38) REQUIRE(static_cast<double>(static_cast<float>(BFloat16(value))) == brain);
  }
  CHECK(static_cast<float>(Half(65519.0f)) == 65504.0f);
  CHECK(std::isinf(static_cast<float>(Half(65520.0f))));
  CHECK(std::isinf(static_cast<float>(BFloat16(std::numeric_limits<float>::max()))));
}

TEST_CASE("shape: counts, axes, and refusals that say why", "[core]") {
  const Shape s{2, 3, 4};
  CHECK(s.numel() == 24);
  CHECK(s[-1] == 4);
  CHECK(s.with(1, 7) == Shape{2, 7, 4});
  CHECK(s.without(-1) == Shape{2, 3});
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{0, 3}.numel() == 0);
  CHECK_THROWS_WITH(s[3], HasText("axis 3 is not in [2, 3, 4]"));
  CHECK_THROWS_AS((Shape{2, -1}), ShapeError);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), ShapeError);
  CHECK_THROWS_WITH((Shape{int64_t{1} << 40, int64_t{1} << 40}), HasText("too many elements"));
}

TEST_CASE("shape: broadcasting is NumPy's", "[core]") {
  CHECK(broadcast({3, 1}, {4}, "add") == Shape{3, 4});
  CHECK(broadcast({}, {2, 2}, "add") == Shape{2, 2});
  CHECK(broadcast({1, 5, 1}, {7, 1, 2}, "add") == Shape{7, 5, 2});
  CHECK_THROWS_WITH(broadcast({2, 3}, {4}, "add"), HasText("[add] shapes [2, 3] and [4] do not broadcast"));
}

}  // namespace tern
