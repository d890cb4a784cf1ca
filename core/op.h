#pragma once
#include <bitset>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace tern {

class Node;
class Op;
struct FusionPair;

/// One op, with the pair's inputs and the output of its second op, that does what the two do; null: they stay apart.
using FusionRule = std::shared_ptr<const Op> (*)(const FusionPair& pair);

/// Which inputs want a gradient / which are saved: one bit an input.
using GradMask = std::bitset<64>;

/// What grad() will read of an op's inputs and outputs; the rest is freed as soon as nobody else holds it.
struct Saves {
  GradMask inputs;
  GradMask outputs;
};

/// How an output shares an input's memory instead of having its own.
struct Alias {
  int input = 0;
  size_t offset = 0;    ///< bytes from the input's start
  bool writes = false;  ///< true: the op overwrites it in place; false: it is a view, and run() is not called for it
};

/// One run of an op: its inputs, the outputs it must fill, and scratch memory.
struct Launch {
  Context& context;
  std::span<const Tensor> in;
  std::span<const Tensor> out;
  std::span<std::byte> workspace;
};

/// A kernel with its contract (D1): infers shapes, then writes into buffers it is given. Ops are immutable and shared.
class Op {
 public:
  virtual ~Op() = default;
  virtual std::string_view name() const = 0;
  /// The outputs' specs. Throws ShapeError or DTypeError when the inputs break the contract.
  virtual std::vector<Spec> infer(std::span<const Spec> in) const = 0;
  /// Bytes of scratch memory that run() wants; aligned to Allocator::kAlignment, contents undefined.
  virtual size_t workspace(std::span<const Spec>, Context&) const { return 0; }
  virtual std::optional<Alias> alias(int /*out*/, std::span<const Spec>) const { return std::nullopt; }
  /// Outputs after these are for grad() only (BatchNorm's mean, the pool's mask): they carry no gradient.
  virtual int visible_outputs() const { return 1; }
  virtual void run(Launch& launch) const = 0;
  /// A fused op's meaning in terms of other ops: its fallback and its oracle, run in its place with fusion off. Gives
  /// all visible outputs; empty: not a fused op.
  virtual std::vector<Tensor> decompose(std::span<const Tensor>) const { return {}; }
  /// The rule by which a plan may merge this op with a neighbour (core/fusion.h); null: there is none.
  virtual FusionRule fusion_rule() const { return nullptr; }
  virtual bool differentiable() const { return true; }
  /// dL/d(input) for the inputs that node.needs(i) (undefined elsewhere), from dL/d(output) (undefined: zero). Calls
  /// public ops, so it can be recorded and differentiated again. Throws AutogradError where the op has none.
  virtual std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const;
  /// `needs` has a bit for every input that wants a gradient.
  virtual Saves saves(GradMask needs) const;
};

/// Sends run() to the kernel of the device: Self has `void run_cpu(Launch&) const` and `run_cuda`, which hands on to a
/// function of the op's .cu. A build with CUDA does not link when that is missing; a build without never asks for it.
template <class Self>
class OpBase : public Op {
 public:
  void run(Launch& launch) const override {
    const Self& self = *static_cast<const Self*>(this);
#if TERN_CUDA
    if (launch.context.device().kind == Device::Kind::cuda) return self.run_cuda(launch);
#endif
    self.run_cpu(launch);
  }
};

/// The one place where ops happen: checks contexts, infers, allocates, runs, puts a node on the tape, records.
/// Returns every output, those beyond op->visible_outputs() off the tape.
std::vector<Tensor> apply(Context& context, std::shared_ptr<const Op> op, std::span<const Tensor> inputs);
/// The same in the first input's context.
std::vector<Tensor> apply(std::shared_ptr<const Op> op, std::span<const Tensor> inputs);
/// The first output of `op`: `return apply_one(std::make_shared<Exp>(), {x});`
Tensor apply_one(std::shared_ptr<const Op> op, std::initializer_list<Tensor> inputs);

/// Throw `[op] what`.
[[noreturn]] void throw_shape(std::string_view op, const std::string& what);
[[noreturn]] void throw_dtype(std::string_view op, const std::string& what);

}  // namespace tern
