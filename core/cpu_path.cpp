#include "core/cpu_path.h"

#include <hwy/highway.h>

namespace tern {

std::string cpu_path() {
  // Of the targets that are both compiled in and supported, Highway dispatches to the best: the lowest bit.
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  switch (targets & -targets) {
#if HWY_ARCH_X86
    case HWY_AVX2: return "avx2";
    case HWY_AVX3: return "avx512";
#endif
#if HWY_ARCH_ARM
    case HWY_NEON: return "neon";
#endif
    default: return hwy::TargetName(targets & -targets);
  }
}

}  // namespace tern
