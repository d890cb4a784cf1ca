#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace tern {

/// What a parameter is for: initialisers, weight decay and PyTorch's layouts depend on it.
enum class ParamKind { conv_weight, linear_weight, bias, norm_weight, norm_bias };

/// A parameter by its PyTorch name ("layer1.0.conv1.weight"). `tensor` points at the module's own handle.
struct Parameter {
  std::string name;
  ParamKind kind;
  Tensor* tensor;
};

/// Where a parameter lies in the flat arenas, in elements. Gaps up to `padded` are zero and stay zero.
struct Segment {
  std::string name;
  ParamKind kind;
  Shape shape;
  int64_t begin = 0;
  int64_t numel = 0;
  int64_t padded = 0;
};

/// All parameters in one flat f32 tensor, gradients in another: one optimizer kernel, one message (D2, D5). Making it
/// copies the parameters' values into the arena and turns the modules' handles into views of it.
///
/// For mixed precision there is a third arena: `weights`, the parameters rounded to f16 or bf16. The modules' handles are
/// views of master all the same, except while a PassWeights lives. Ref: Micikevicius et al. 2018, arXiv:1710.03740.
class ParameterStore {
 public:
  /// Throws DTypeError for parameters that are not f32. `weights` are undefined contents until they are first rounded.
  ParameterStore(Context& context, std::span<const Parameter> parameters, DType pass_dtype = DType::f32);

  Tensor master;   ///< f32 [size()]
  Tensor grads;    ///< f32 [size()]
  Tensor weights;  ///< f16 or bf16 [size()]: master rounded, kept by the optimizers; undefined with f32
  int64_t size() const { return master.numel(); }
  const std::vector<Segment>& segments() const { return segments_; }
  /// A segment's part of a flat tensor laid out like master, in the parameter's shape.
  Tensor view(const Tensor& flat, const Segment& segment) const;

  /// The modules' handles, one a segment: what gradients are taken of.
  std::vector<Tensor> handles() const;

 private:
  friend class PassWeights;
  std::vector<Segment> segments_;
  std::vector<Tensor*> handles_;      // the modules' own
  std::vector<Tensor> pass_handles_;  // views of weights, of master for norms; empty with f32
};

/// Gives the modules the 16-bit weights to compute with while it lives; norms keep f32. Nothing changes with f32.
class PassWeights {
 public:
  explicit PassWeights(ParameterStore& store) : store_(store) { exchange(); }
  ~PassWeights() { exchange(); }
  PassWeights(const PassWeights&) = delete;
  PassWeights& operator=(const PassWeights&) = delete;

 private:
  void exchange();
  ParameterStore& store_;
};

}  // namespace tern
