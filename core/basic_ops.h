#pragma once
#include "core/op.h"

/// The few ops that core itself needs: making, copying and adding tensors.
namespace tern {
namespace cuda {  // basic_ops.cu
void fill(Launch& launch, double value);
void copy_into(Launch& launch);
void accumulate(Launch& launch);
}  // namespace cuda

/// Every element is `value`. The only op without inputs.
class Fill final : public OpBase<Fill> {
 public:
  Fill(Spec spec, double value) : spec_(spec), value_(value) {}
  std::string_view name() const override { return "fill"; }
  std::vector<Spec> infer(std::span<const Spec>) const override { return {spec_}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::fill(launch, value_); }

 private:
  Spec spec_;
  double value_;
};

/// in: destination, source (same spec). Overwrites the destination.
class CopyInto final : public OpBase<CopyInto> {
 public:
  std::string_view name() const override { return "copy_into"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  std::optional<Alias> alias(int, std::span<const Spec>) const override { return Alias{.input = 0, .writes = true}; }
  bool differentiable() const override { return false; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::copy_into(launch); }
};

/// a + b for two tensors of one spec; with `in_place` into a.
class Accumulate final : public OpBase<Accumulate> {
 public:
  explicit Accumulate(bool in_place = false) : in_place_(in_place) {}
  std::string_view name() const override { return in_place_ ? "accumulate_into" : "accumulate"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  std::optional<Alias> alias(int, std::span<const Spec>) const override;
  bool differentiable() const override { return !in_place_; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::accumulate(launch); }

 private:
  bool in_place_;
};

/// destination += source, not on the tape.
void accumulate_into(const Tensor& destination, const Tensor& source);

}  // namespace tern
