#pragma once
#include <string>

#include "core/op.h"

/// Parameters of normalisations: vectors of x's dtype or of the type that x is computed in, so that 16-bit activations
/// may keep f32 parameters.
namespace tern {

/// f64 for f64, f32 for the other floating types.
inline DType compute_dtype(DType x) { return x == DType::f64 ? DType::f64 : DType::f32; }

/// Throws naming `op` and `what` unless `parameter` has `shape` and a dtype that goes with x's.
inline void check_parameter(std::string_view op, const char* what, const Spec& parameter, const Shape& shape, DType x) {
  if (parameter.shape != shape)
    throw_shape(op, std::string(what) + " is " + parameter.shape.str() + ", x wants " + shape.str());
  if (parameter.dtype != x && parameter.dtype != compute_dtype(x))
    throw_dtype(
        op, std::string(what) + " is " + std::string(name_of(parameter.dtype)) + ", x is " + std::string(name_of(x)));
}

/// Acc is float or double; 16-bit parameters come with float only.
template <class Acc>
void load_parameter(const Tensor& from, Acc* to) {
  const auto copy = [&](const auto* values) {
    for (int64_t i = 0; i < from.numel(); ++i) to[i] = static_cast<Acc>(values[i]);
  };
  if (from.dtype() == dtype_of<Acc>) return copy(from.data<Acc>());
  if constexpr (sizeof(Acc) == sizeof(float))
    return from.dtype() == DType::f16 ? copy(from.data<Half>()) : copy(from.data<BFloat16>());
}

template <class Acc>
void store_parameter(const Acc* from, const Tensor& to) {
  const auto copy = [&](auto* values) {
    for (int64_t i = 0; i < to.numel(); ++i) values[i] = static_cast<std::remove_pointer_t<decltype(values)>>(from[i]);
  };
  if (to.dtype() == dtype_of<Acc>) return copy(to.data<Acc>());
  if constexpr (sizeof(Acc) == sizeof(float))
    return to.dtype() == DType::f16 ? copy(to.data<Half>()) : copy(to.data<BFloat16>());
}

}  // namespace tern
