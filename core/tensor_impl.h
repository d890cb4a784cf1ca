#pragma once
#include "core/autograd.h"
#include "core/storage.h"
#include "core/tensor.h"

namespace tern {

struct TensorImpl {
  Context* context = nullptr;
  Spec spec;
  std::shared_ptr<Storage> storage;
  size_t offset = 0;
  bool requires_grad = false;  // leaves only
  std::shared_ptr<Node> node;  // the op that made it, when on the tape
  int output_index = 0;
  Tensor grad;
};

/// The only door from the tape and from apply() to a tensor's insides.
struct TapeAccess {
  static Tensor make(std::shared_ptr<TensorImpl> impl) {
    Tensor tensor;
    tensor.impl_ = std::move(impl);
    return tensor;
  }
  static TensorImpl& impl(const Tensor& tensor) { return *tensor.impl_; }
};

}  // namespace tern
