#pragma once
#include <memory>
#include <vector>

#include "kernels/elementwise_chain/program.h"

namespace tern {
class ElementwiseChain;
namespace cuda {
void elementwise_chain(Launch& launch, const ElementwiseChain& chain);  // elementwise_chain.cu
}

/// A run of elementwise ops in one pass over memory: the inputs are read once, the intermediate results stay in
/// registers (the L1 cache on the CPU), the output is written once. Plans make it by fuse_elementwise; there is no
/// function that calls it.
///   in: up to kMaxChainInputs tensors of one floating dtype, each of the output's shape or repeating along it: one
///   element, or the last axes of that shape ([C] over [N,H,W,C])  ->  out, their dtype
/// An intermediate result is rounded to the dtype, as if it had been in memory, and every step computes what its op
/// computes: the same bits as without fusion on the CPU. On a GPU, too, where the compiler treats a formula the same in
/// both kernels; a formula of several operations may differ by the rounding of a product that is added to.
class ElementwiseChain final : public OpBase<ElementwiseChain> {
 public:
  /// A merged op, its step, and which of the chain's inputs its own are (or ChainStep::kPrevious).
  struct Part {
    std::shared_ptr<const Op> op;
    std::vector<int> in;
    ChainStep step;
  };
  explicit ElementwiseChain(std::vector<Part> parts) : parts_(std::move(parts)) {}
  const std::vector<Part>& parts() const { return parts_; }

  std::string_view name() const override { return "elementwise_chain"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  std::vector<Tensor> decompose(std::span<const Tensor> in) const override;
  FusionRule fusion_rule() const override { return &fuse_elementwise; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::elementwise_chain(launch, *this); }

  /// The chain on a launch's tensors, computed in C.
  template <class C>
  ChainProgram<C> program(const Launch& launch) const {
    ChainProgram<C> program;
    program.count = launch.out[0].numel();
    for (const Tensor& input : launch.in) program.period[program.inputs++] = input.numel();
    for (const Part& part : parts_) {
      const ChainStep& s = part.step;
      program.step[program.steps++] = {s.code, static_cast<int8_t>(s.a), static_cast<int8_t>(s.b),
                                       static_cast<C>(s.low), static_cast<C>(s.high)};
    }
    return program;
  }

 private:
  std::vector<Part> parts_;
};

}  // namespace tern
