#include "core/parameter_store.h"

#include <utility>

#include "core/error.h"
#include "core/storage.h"

namespace tern {
namespace {
constexpr int64_t kPad = 16;  // elements: every view starts on its own 64-byte line
}

ParameterStore::ParameterStore(Context& context, std::span<const Parameter> parameters, DType pass_dtype) {
  int64_t total = 0;
  for (const Parameter& parameter : parameters) {
    const Spec& spec = parameter.tensor->spec();
    if (spec.dtype != DType::f32) throw DTypeError("[parameters] " + parameter.name + " is " + spec.str() + ", wants f32");
    const int64_t padded = (spec.numel() + kPad - 1) / kPad * kPad;
    segments_.push_back({parameter.name, parameter.kind, spec.shape, total, spec.numel(), padded});
    total += padded;
  }
  {
    MemoryTag tag(context, "parameters");
    master = Tensor::zeros(context, {total});
  }
  {
    MemoryTag tag(context, "gradients");
    grads = Tensor::zeros(context, {total});
  }
  if (pass_dtype != DType::f32) {
    MemoryTag tag(context, "parameters");
    weights = Tensor::zeros(context, {total}, pass_dtype);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    Tensor& handle = *parameters[i].tensor;
    const bool trained = handle.requires_grad();
    Tensor part = view(master, segments_[i]);
    part.copy_from(handle);
    handle = part.set_requires_grad(trained);
    handles_.push_back(&handle);
    if (!weights.defined()) continue;
    const ParamKind kind = segments_[i].kind;
    const bool is_norm = kind == ParamKind::norm_weight || kind == ParamKind::norm_bias;
    pass_handles_.push_back(is_norm ? handle : view(weights, segments_[i]).set_requires_grad(trained));
  }
}

std::vector<Tensor> ParameterStore::handles() const {
  std::vector<Tensor> handles;
  for (const Tensor* handle : handles_) handles.push_back(*handle);
  return handles;
}

void PassWeights::exchange() {
  for (size_t i = 0; i < store_.pass_handles_.size(); ++i) std::swap(*store_.handles_[i], store_.pass_handles_[i]);
}

Tensor ParameterStore::view(const Tensor& flat, const Segment& segment) const {
  const size_t offset = flat.storage_offset() + static_cast<size_t>(segment.begin) * size_of(flat.dtype());
  return Tensor::view_of(flat.context(), flat.storage(), offset, {flat.dtype(), segment.shape});
}

}  // namespace tern
