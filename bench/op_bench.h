#pragma once
#include <memory>
#include <optional>
#include <string>

#include "bench/row.h"
#include "core/plan.h"
#include "tests/op_tensors.h"

namespace tern::bench {

/// What is wrong with a row's kernels, or nullopt. On the op's first set of inputs the forward pass against the naive reference
/// and, in f32, the gradient against the CPU's in f64; or where the row knows its elements, some of the timed output.
std::optional<std::string> find_fault(const Row& row, const Context::Options& options, DType dtype = DType::f32);

/// What must at least go through the memory, in bytes, when every op reads its inputs once and writes its outputs once.
struct Traffic {
  double read = 0, written = 0;
};

/// One direction of a row on its bench inputs, recorded, so that a call runs kernels alone: no shapes, tape, allocation.
class OpBench {
 public:
  struct Setup {
    DType dtype = DType::f32;
    /// Of the largest input, reached by more of the same along the batch axis; rows that are judged by their flops,
    /// and those whose shapes do not allow it, stay as they are.
    double at_least_bytes = 0;
  };
  OpBench(Context& context, const testing::OpCase& row, Pass pass) : OpBench(context, row, pass, Setup{}) {}
  OpBench(Context& context, const testing::OpCase& row, Pass pass, const Setup& setup);
  OpBench(const OpBench&) = delete;
  OpBench& operator=(const OpBench&) = delete;

  void run() { (*step_)(std::span<const Tensor>{}); }
  /// False where the step runs no op at all: a view, or a gradient that is dy itself.
  bool works() const { return step_->stats()[0].instructions > 0; }
  double items() const { return items_; }  ///< elements of the outputs, or of the gradients
  double bytes() const { return bytes_; }  ///< that must be read and written at least: inputs, outputs; dy, gradients
  double flops() const { return flops_; }  ///< 0 where the row is judged by its bytes
  /// Of the ops that ran: a gradient's saved tensors count, which bytes() leaves out.
  const Traffic& traffic() const { return traffic_; }

 private:
  testing::Tensors record(Context& context, const CompiledStep::Function& step);

  testing::Tensors inputs_, leaves_;
  testing::Seeded seeded_;
  std::optional<CompiledStep> step_;
  double items_ = 0, bytes_ = 0, flops_ = 0;
  Traffic traffic_;
};

}  // namespace tern::bench
