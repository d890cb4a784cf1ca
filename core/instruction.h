#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "core/op.h"

namespace tern {

/// Part of a value of a recorded step: what a tensor was.
struct Ref {
  size_t value;
  size_t offset;  ///< bytes
  Spec spec;
  bool operator==(const Ref&) const = default;
};

/// A recorded op: what a plan replays.
struct Instruction {
  std::shared_ptr<const Op> op;
  std::vector<Ref> in, out;
  size_t workspace;
  std::vector<size_t> overwritten;  ///< outside values that it writes in place
  std::string_view phase;           ///< entered before it runs; empty: goes on
};

}  // namespace tern
