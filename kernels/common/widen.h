#pragma once
#include "core/convert.h"
#include "core/tensor.h"
#include "kernels/common/parallel.h"
#include "kernels/common/scratch.h"

/// 16-bit operands of kernels that compute on whole f32 arrays. For f32 and f64 all of this is free.
namespace tern {

/// Elements of scratch memory that widened() and WideOutput take for a tensor of `count` elements of T.
template <class T>
constexpr int64_t wide_count(int64_t count) {
  return kIsHalf<T> ? count : 0;
}

/// The elements of x as Compute<T>: in place, or converted into scratch memory.
template <class T>
const Compute<T>* widened(Context& context, const Tensor& x, Scratch& scratch) {
  const T* from = x.data<T>();
  if constexpr (kIsHalf<T>) {
    float* to = scratch.take<float>(x.numel());
    for_chunks(context, x.numel(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = load_element(from[i]);
    });
    return to;
  } else {
    return from;
  }
}

/// Where to compute an output as Compute<T>: in place, or in scratch memory that store() rounds from.
template <class T>
class WideOutput {
 public:
  WideOutput(Context& context, const Tensor& y, Scratch& scratch) : context_(context), y_(y) {
    if constexpr (kIsHalf<T>)
      data_ = scratch.take<float>(y.numel());
    else
      data_ = y.data<T>();
  }
  Compute<T>* data() const { return data_; }
  void store() const {
    if constexpr (kIsHalf<T>) {
      T* to = y_.data<T>();
      for_chunks(context_, y_.numel(), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = store_element<T>(data_[i]);
      });
    }
  }

 private:
  Context& context_;
  const Tensor& y_;
  Compute<T>* data_ = nullptr;
};

}  // namespace tern
