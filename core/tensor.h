#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/shape.h"

namespace tern {

class Node;
class Storage;
struct TensorImpl;

/// A dense, row-major array on a device, with its place on the tape. A handle: copies share data and gradient.
/// Activations are NHWC, filters KRSC (D3). A default-made Tensor is undefined: only defined() may be called.
class Tensor {
 public:
  Tensor() = default;

  static Tensor empty(Context& context, const Shape& shape, DType dtype = DType::f32);
  static Tensor zeros(Context& context, const Shape& shape, DType dtype = DType::f32);
  /// Every element is `value`, rounded to the dtype.
  static Tensor full(Context& context, const Shape& shape, double value, DType dtype = DType::f32);
  static Tensor arange(Context& context, int64_t count, DType dtype = DType::i64);
  /// Copies values, row-major. Throws ShapeError when their number is not the shape's.
  template <class T>
  static Tensor from(Context& context, const Shape& shape, std::span<const T> values) {
    return from_raw(context, {dtype_of<T>, shape}, values.data(), values.size());
  }
  template <class T>
  static Tensor from(Context& context, const Shape& shape, const std::vector<T>& values) {
    return from<T>(context, shape, std::span<const T>(values));
  }
  /// A tensor that shares `storage` from byte `offset` on.
  static Tensor view_of(Context& context, std::shared_ptr<Storage> storage, size_t offset, const Spec& spec);

  bool defined() const { return impl_ != nullptr; }
  Context& context() const;
  const Spec& spec() const;
  const Shape& shape() const { return spec().shape; }
  DType dtype() const { return spec().dtype; }
  int rank() const { return shape().rank(); }
  int64_t size(int axis) const { return shape()[axis]; }
  int64_t numel() const { return shape().numel(); }
  size_t bytes() const { return spec().bytes(); }

  /// The elements, where they are: on a GPU the host cannot read them. Throws DTypeError when T is not the dtype.
  template <class T>
  T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  /// The elements of a tensor in the host's memory. Throws DeviceError for one that is not.
  template <class T>
  std::span<T> span() const {
    check_on_host();
    return {data<T>(), static_cast<size_t>(numel())};
  }
  void* raw() const;
  const std::shared_ptr<Storage>& storage() const;
  size_t storage_offset() const;  ///< bytes

  /// Host copy. Throws AutogradError while a plan is recorded: the value would be frozen into the plan.
  template <class T>
  std::vector<T> to_vector() const {
    check_dtype(dtype_of<T>);
    std::vector<T> values(static_cast<size_t>(numel()));
    read_bytes(values.data());
    return values;
  }
  /// The same of bytes() raw bytes.
  void read_bytes(void* to) const;
  /// Overwrites the elements from the host's memory; not on the tape and not part of a recording. Throws ShapeError
  /// when the number of values is not numel().
  template <class T>
  void write(std::span<const T> values) const {
    check_dtype(dtype_of<T>);
    check_count(values.size());
    write_bytes(values.data());
  }
  void write_bytes(const void* from) const;
  /// The one element as a double. Throws ShapeError when there are more; AutogradError while a plan is recorded.
  double item() const;
  /// Overwrites the elements with those of `source` (same spec). Not on the tape.
  void copy_from(const Tensor& source) const;

  /// Leaves that collect a gradient. Throws DTypeError for integers, AutogradError for a result of an op.
  Tensor& set_requires_grad(bool on = true);
  bool requires_grad() const;
  /// What backward() summed up for this leaf; undefined before.
  Tensor grad() const;
  void set_grad(const Tensor& grad) const;
  /// The same data, off the tape.
  Tensor detach() const;
  /// Adds d(this)/d(leaf) to every leaf's grad(). `seed` is dL/d(this); undefined: ones, for a single element only.
  void backward(const Tensor& seed = {}) const;

  const std::shared_ptr<Node>& node() const;  ///< the op that made it, or null
  int output_index() const;
  bool same_as(const Tensor& other) const { return impl_ == other.impl_; }

 private:
  friend class Node;
  friend struct TapeAccess;
  static Tensor from_raw(Context& context, const Spec& spec, const void* values, size_t count);
  void check_dtype(DType wanted) const;
  void check_on_host() const;
  void check_count(size_t count) const;
  std::shared_ptr<TensorImpl> impl_;
};

}  // namespace tern
