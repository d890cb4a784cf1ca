#pragma once
#include <span>

#include "core/tensor.h"

namespace tern {

/// Copies tensors (of floating dtypes, converted) into a flat f32 arena, tensors[i] from element offsets[i] on. What they
/// do not cover keeps its value. The inverse is views (ParameterStore::view). Not on the tape.
/// Throws ShapeError when a tensor does not fit into the arena.
void flatten_into(const Tensor& arena, std::span<const Tensor> tensors, std::span<const int64_t> offsets);

}  // namespace tern
