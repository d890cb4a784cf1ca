#include "core/tensor.h"

#include "core/basic_ops.h"
#include "core/device_runtime.h"
#include "core/recorder.h"
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
    std::vector<T> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (sizeof(T) == 2)
        values[i] = T(static_cast<float>(i));
      else
        values[i] = static_cast<T>(i);
    }
    result.write(std::span<const T>(values));
  });
  return result;
}

Tensor Tensor::from_raw(Context& context, const Spec& spec, const void* values, size_t count) {
  Tensor result = empty(context, spec.shape, spec.dtype);
  result.check_count(count);
  result.write_bytes(values);
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

void Tensor::check_on_host() const {
  if (context().device().kind != Device::Kind::cpu)
    throw DeviceError("[tensor] " + spec().str() + " is on " + context().device().str() + ", where the host cannot reach it");
}

void Tensor::check_count(size_t count) const {
  if (static_cast<size_t>(numel()) != count)
    throw ShapeError("[tensor] " + spec().str() + " wants " + std::to_string(numel()) + " values, got " + std::to_string(count));
}

void Tensor::read_bytes(void* to) const {
  if (const Recorder* recorder = context().recorder(); recorder && !recorder->observes())
    throw AutogradError("[tensor] a value is read while a step is being recorded: it would be frozen into the plan; "
                        "return the tensor from the step and read it afterwards");
  context().runtime().copy_out(to, raw(), bytes());
}

void Tensor::write_bytes(const void* from) const { context().runtime().copy_in(raw(), from, bytes()); }

double Tensor::item() const {
  if (numel() != 1) throw ShapeError("[item] wants one element, got " + spec().str());
  return dispatch_all(dtype(), [&](auto t) {
    using T = decltype(t);
    T value;
    read_bytes(&value);
    if constexpr (sizeof(T) == 2)
      return static_cast<double>(static_cast<float>(value));
    else
      return static_cast<double>(value);
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
