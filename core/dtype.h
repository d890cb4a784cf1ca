#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tern {

/// Element types. `f16` is IEEE binary16, `bf16` is bfloat16; both are storage types: arithmetic is in f32.
enum class DType : uint8_t { f32, f64, f16, bf16, i64, i32, u8 };

size_t size_of(DType dtype);             ///< bytes of one element
std::string_view name_of(DType dtype);   ///< "f32", "i64", ...
constexpr bool is_floating(DType d) { return d <= DType::bf16; }

/// IEEE binary16 in 16 bits. Conversion from f32 rounds to nearest, ties to even; NaN stays NaN.
struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float value);
  explicit operator float() const;
};

/// bfloat16 in 16 bits: the upper half of an f32. Rounds to nearest, ties to even; NaN stays NaN.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value);
  explicit operator float() const;
};

template <class T>
struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<Half> { static constexpr DType value = DType::f16; };
template <> struct DTypeOf<BFloat16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::u8; };
/// The DType of a C++ element type: `dtype_of<float> == DType::f32`.
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// The type that sums of T are kept in: f64 for f64, f32 for every other floating type, i64 for integers.
template <class T> struct AccumulatorOf { using type = float; };
template <> struct AccumulatorOf<double> { using type = double; };
template <> struct AccumulatorOf<int64_t> { using type = int64_t; };
template <> struct AccumulatorOf<int32_t> { using type = int64_t; };
template <> struct AccumulatorOf<uint8_t> { using type = int64_t; };
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

/// Calls `f(T{})` with the C++ type of `dtype`; `f` is a generic lambda: `dispatch_all(d, [&](auto t) { using T = decltype(t); ... })`.
template <class F>
decltype(auto) dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::f16: return f(Half{});
    case DType::bf16: return f(BFloat16{});
    case DType::i64: return f(int64_t{});
    case DType::i32: return f(int32_t{});
    case DType::u8: break;
  }
  return f(uint8_t{});
}

[[noreturn]] void throw_not_floating(std::string_view op, DType dtype);

/// The same for the four floating types; throws DTypeError naming `op` for the others.
template <class F>
decltype(auto) dispatch_floating(std::string_view op, DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::f16: return f(Half{});
    case DType::bf16: return f(BFloat16{});
    default: throw_not_floating(op, dtype);
  }
}

}  // namespace tern
