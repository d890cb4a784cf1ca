#pragma once
#include "core/op.h"
#include "kernels/augment_images/augment_images.h"

namespace tern {

/// in: pictures, samples, key. out: the chosen pictures, changed.
class AugmentImagesOp final : public OpBase<AugmentImagesOp> {
 public:
  explicit AugmentImagesOp(AugmentImages options) : options_(std::move(options)) {}
  std::string_view name() const override { return "augment_images"; }
  bool differentiable() const override { return false; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const;  // augment_images.cu

 private:
  AugmentImages options_;
};

}  // namespace tern
