#pragma once
#include "core/parameter_store.h"

namespace tern {

/// Zeros laid out like store.master, counted as "optimizer state".
Tensor state_like(const ParameterStore& store);

}  // namespace tern
