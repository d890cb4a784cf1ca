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
class ParameterStore {
 public:
  /// Throws DTypeError for parameters that are not f32.
  ParameterStore(Context& context, std::span<const Parameter> parameters);

  Tensor master;  ///< f32 [size()]
  Tensor grads;   ///< f32 [size()]
  int64_t size() const { return master.numel(); }
  const std::vector<Segment>& segments() const { return segments_; }
  /// A segment's part of a flat tensor laid out like master, in the parameter's shape.
  Tensor view(const Tensor& flat, const Segment& segment) const;

 private:
  std::vector<Segment> segments_;
};

}  // namespace tern
