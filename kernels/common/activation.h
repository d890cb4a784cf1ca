#pragma once

namespace tern {

/// What a fused op does to its result last.
enum class Activation { none, relu };

}  // namespace tern
