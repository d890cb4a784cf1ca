#pragma once
#include "core/context.h"

namespace tern {

#if TERN_CUDA
inline constexpr bool kCudaBuild = true;
#else
inline constexpr bool kCudaBuild = false;
#endif

inline bool on_cuda(const Context& context) { return context.device().kind == Device::Kind::cuda; }

}  // namespace tern
