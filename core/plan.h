#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace tern {

/// One block of memory that plans take turns in: a training step, its ragged last step and the evaluation never run at
/// the same time.
class Arena {
 public:
  explicit Arena(Context& context) : context_(context) {}
  /// Storage of at least `bytes`. The plans that work on it keep it: without any its memory is given back.
  std::shared_ptr<Storage> reserve(size_t bytes);
  size_t bytes() const { return bytes_; }  ///< the largest reserved so far

 private:
  Context& context_;
  size_t bytes_ = 0;
  std::weak_ptr<Storage> storage_;
};

struct CompileOptions {
  bool plan = true;                ///< false: every call runs eagerly
  bool reuse_memory = true;        ///< false: the planner gives every buffer a place of its own
  std::shared_ptr<Arena> arena;    ///< shared with other plans; null: one of its own
};

struct PlanStats {
  int instructions = 0;
  int fused = 0;             ///< recorded ops that became part of another one's instruction
  size_t arena_bytes = 0;    ///< with memory reused
  size_t unplanned_bytes = 0;  ///< the same buffers each in its own place
  int graph_nodes = 0;         ///< of its CUDA graph; 0: it has none
  std::string str() const;
};

/// A step that is recorded once for every kind of input and then replayed without shape inference, tape or allocation.
///
/// `step` is called on the first inputs of a kind (their specs, which of them require gradients, the context's lane
/// size and tape switch); every op it makes is recorded: forward, gradients, optimizer. Later calls of that kind copy
/// their inputs into the plan's own and run the recorded ops on one arena: the same kernels, the same bits (D4).
/// With Context::Options::fusion, neighbouring ops are merged by their rules (core/fusion.h).
/// Where the device can (a GPU) and Context::Options::graph is on, the first replay captures the instructions as one
/// graph and later ones launch that.
/// Parameters and other tensors that `step` captures are used in place. The outputs lie in the arena: read or copy
/// them before the next call of a step that shares it.
///
/// The step must depend on its inputs only through tensors: reading a value (item(), to_vector()) throws
/// AutogradError while it is recorded, and so does keeping a tensor made in it beyond its returned outputs.
class CompiledStep {
 public:
  using Function = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
  CompiledStep(Context& context, Function step, CompileOptions options = {});
  ~CompiledStep();
  CompiledStep(CompiledStep&&) noexcept;
  CompiledStep& operator=(CompiledStep&&) noexcept;

  std::vector<Tensor> operator()(std::span<const Tensor> inputs);
  std::vector<Tensor> operator()(std::initializer_list<Tensor> inputs) { return (*this)(std::span(inputs.begin(), inputs.size())); }
  /// Forgets every plan: after a change that the key does not see, such as a parameter frozen or layers in eval mode.
  void reset();
  /// One a plan, in the order of their recording.
  std::vector<PlanStats> stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// `auto step = compile(ctx, [&](std::span<const Tensor> in) { ...; return std::vector<Tensor>{loss}; });`
inline CompiledStep compile(Context& context, CompiledStep::Function step, CompileOptions options = {}) {
  return CompiledStep(context, std::move(step), std::move(options));
}

}  // namespace tern
