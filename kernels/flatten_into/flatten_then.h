#pragma once
#include <functional>
#include <span>

#include "core/tensor.h"

namespace tern {

/// flatten_into(), and each time when the copies are made, by a plan's replay too, `then` is called on the host.
/// Throws DeviceError where the arena is not the CPU's.
void flatten_then(const Tensor& arena, std::span<const Tensor> tensors, std::span<const int64_t> offsets, std::function<void()> then);

}  // namespace tern
