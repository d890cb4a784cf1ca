#pragma once
#include <span>
#include <string>
#include <string_view>

#include "core/op.h"

/// Checks that many ops' infer() makes.
namespace tern {

/// Throws ShapeError naming `op` when an input has no elements (an empty batch).
inline void require_elements(std::string_view op, std::span<const Spec> in) {
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].numel() == 0) throw_shape(op, "input " + std::to_string(i) + " is empty: " + in[i].str());
}

/// Throws DTypeError naming `op` unless every input has the dtype of the first one and that is a floating type.
inline void require_same_floating(std::string_view op, std::span<const Spec> in) {
  if (!is_floating(in[0].dtype)) throw_not_floating(op, in[0].dtype);
  for (size_t i = 1; i < in.size(); ++i)
    if (in[i].dtype != in[0].dtype)
      throw_dtype(op, "input " + std::to_string(i) + " is " + std::string(name_of(in[i].dtype)) + " but input 0 is " +
                          std::string(name_of(in[0].dtype)));
}

}  // namespace tern
