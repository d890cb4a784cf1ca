#pragma once

namespace tern {

/// What a fused op does to its result last.
enum class Activation {
  none,
  relu,
  gelu,  ///< exact, by erf; batch normalisation only
};

}  // namespace tern
