#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/plan.h"
#include "tests/op_tensors.h"

namespace tern::bench {

/// What is wrong with a row's kernels on its first set of inputs, or nullopt: the forward pass against the naive
/// reference, the gradient in f32 against the one in f64.
std::optional<std::string> find_fault(const testing::OpCase& row, int threads);

/// One direction of a row on its bench inputs, recorded, so that a call runs kernels alone: no shapes, tape, allocation.
class OpBench {
 public:
  enum class Pass { forward, backward };
  OpBench(Context& context, const testing::OpCase& row, Pass pass);
  OpBench(const OpBench&) = delete;
  OpBench& operator=(const OpBench&) = delete;

  void run() { (*step_)(std::span<const Tensor>{}); }
  /// False where the step runs no op at all: a view, or a gradient that is dy itself.
  bool works() const { return step_->stats()[0].instructions > 0; }
  double items() const { return items_; }  ///< elements of the outputs, or of the gradients
  double bytes() const { return bytes_; }  ///< that must be read and written at least: inputs, outputs; dy, gradients
  double flops() const { return flops_; }  ///< 0 where the row is judged by its bytes

 private:
  testing::Tensors inputs_, leaves_;
  testing::Seeded seeded_;
  std::optional<CompiledStep> step_;
  double items_ = 0, bytes_ = 0, flops_ = 0;
};

}  // namespace tern::bench
