#pragma once
#include <memory>
#include <span>
#include <vector>

#include "core/instruction.h"
#include "core/op.h"

namespace tern {

/// Two neighbouring instructions of a recorded step, the first of which has one output that the second alone reads.
struct FusionPair {
  static constexpr int kFirst = -1;  ///< the output of `first` as an input of `second`
  std::shared_ptr<const Op> first, second;
  std::vector<Spec> inputs;              ///< of the tensors that the two read, each once
  std::vector<int> first_in, second_in;  ///< what the ops' inputs are: indices into `inputs`, or kFirst
  Spec between, out;                     ///< outputs of `first` and of `second`
};

/// Merges what the rules of neighbouring ops (Op::fusion_rule) can merge, each merged instruction at its last op's
/// place. `results` are read after the last instruction. Returns the number of instructions that went into others.
int fuse(std::vector<Instruction>& instructions, std::span<const Ref> results, Context& context);

}  // namespace tern
