#include "core/tensor.h"

#include <cstring>

#include "core/basic_ops.h"
#include "core/error.h"
#include "core/tensor_impl.h"

namespace tern {

Tensor Tensor::view_of(Context& context, std::shared_ptr<Storage> storage, size_t offset, const Spec& spec) {
  if (offset + spec.bytes() > storage->bytes())
    throw ShapeError("[view] " + spec.str() + " at byte " + std::to_string(offset) + " does not fit " +
                     std::to_string(storage->bytes()) + " bytes");
  auto impl = std::make_shared<TensorImpl>();
  impl->context = &context;
  impl->spec = spec;
  impl->storage = std::move(storage);
  impl->offset = offset;
  return TapeAccess::make(std::move(impl));
}

Tensor Tensor::empty(Context& context, const Shape& shape, DType dtype) {
  const Spec spec{dtype, shape};
  return view_of(context, std::make_shared<Storage>(context, spec.bytes()), 0, spec);
}

Tensor Tensor::full(Context& context, const Shape& shape, double value, DType dtype) {
  return apply(context, std::make_shared<Fill>(Spec{dtype, shape}, value), {})[0];
}

Tensor Tensor::zeros(Context& context, const Shape& shape, DType dtype) { return full(context, shape, 0, dtype); }

Tensor Tensor::arange(Context& context, int64_t count, DType dtype) {
  Tensor result = empty(context, {count}, dtype);
  dispatch_all(dtype, [&](auto t) {
    using T = decltype(t);
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (sizeof(T) == 2)
        result.data<T>()[i] = T(static_cast<float>(i));
      else
        result.data<T>()[i] = static_cast<T>(i);
    }
  });
  return result;
}

Tensor Tensor::from_raw(Context& context, const Spec& spec, const void* values, size_t count) {
  if (static_cast<size_t>(spec.numel()) != count)
    throw ShapeError("[tensor] " + spec.str() + " wants " + std::to_string(spec.numel()) + " values, got " + std::to_string(count));
  Tensor result = empty(context, spec.shape, spec.dtype);
  if (count != 0) std::memcpy(result.raw(), values, spec.bytes());
  return result;
}

Context& Tensor::context() const { return *impl_->context; }
const Spec& Tensor::spec() const { return impl_->spec; }
void* Tensor::raw() const { return static_cast<std::byte*>(impl_->storage->data()) + impl_->offset; }
const std::shared_ptr<Storage>& Tensor::storage() const { return impl_->storage; }
size_t Tensor::storage_offset() const { return impl_->offset; }
const std::shared_ptr<Node>& Tensor::node() const { return impl_->node; }
int Tensor::output_index() const { return impl_->output_index; }
Tensor Tensor::grad() const { return impl_->grad; }
void Tensor::set_grad(const Tensor& grad) const { impl_->grad = grad; }
bool Tensor::requires_grad() const { return impl_->requires_grad || impl_->node != nullptr; }

void Tensor::check_dtype(DType wanted) const {
  if (dtype() != wanted)
    throw DTypeError("[tensor] is " + std::string(name_of(dtype())) + ", read as " + std::string(name_of(wanted)));
}

void Tensor::check_host_read() const {
  if (context().recorder())
    throw AutogradError("[tensor] a value is read while a step is being recorded: it would be frozen into the plan; "
                        "return the tensor from the step and read it afterwards");
}

double Tensor::item() const {
  check_host_read();
  if (numel() != 1) throw ShapeError("[item] wants one element, got " + spec().str());
  return dispatch_all(dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (sizeof(T) == 2)
      return static_cast<double>(static_cast<float>(*data<T>()));
    else
      return static_cast<double>(*data<T>());
  });
}

void Tensor::copy_from(const Tensor& source) const {
  NoGrad guard(context());
  apply_one(std::make_shared<CopyInto>(), {*this, source});
}

Tensor& Tensor::set_requires_grad(bool on) {
  if (impl_->node) throw AutogradError("[tensor] requires_grad is for leaves; this is a result of " + std::string(impl_->node->op().name()));
  if (on && !is_floating(dtype())) throw DTypeError("[tensor] only floating tensors have gradients, this is " + std::string(name_of(dtype())));
  impl_->requires_grad = on;
  return *this;
}

Tensor Tensor::detach() const { return view_of(context(), storage(), storage_offset(), spec()); }

}  // namespace tern
