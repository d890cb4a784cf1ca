#pragma once
#include <type_traits>

#include "core/dtype.h"

/// Element types as kernels compute with them: 16-bit floats in f32, the others as they are.
namespace tern {

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <class T>
using Compute = std::conditional_t<kIsHalf<T>, float, T>;

template <class T>
Compute<T> load_element(T value) {
  return static_cast<Compute<T>>(value);
}

template <class T>
T store_element(Compute<T> value) {
  return static_cast<T>(value);
}

}  // namespace tern
