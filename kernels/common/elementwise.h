#pragma once
#include <algorithm>
#include <array>
#include <string>

#include "core/autograd.h"
#include "core/convert.h"
#include "core/op.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/elementwise_chain/chain_step.h"
#include "kernels/sum_to/sum_to.h"

/// What elementwise ops share: an op names itself, computes one element (or a row of f32), and gives its gradient.
namespace tern {

/// out[i] = f(a[i], b[i]) under broadcasting, computed in Compute<T>. The compiler vectorises the three row loops.
template <class T, class F>
void map_binary(Launch& launch, const F& f) {
  const auto loop = plan_broadcast<2>(launch.out[0].shape(), {launch.in[0].shape(), launch.in[1].shape()});
  const T* a = launch.in[0].data<T>();
  const T* b = launch.in[1].data<T>();
  T* out = launch.out[0].data<T>();
  const bool a_steps = loop.strides[0][0] != 0;
  const bool b_steps = loop.strides[1][0] != 0;
  for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
    walk_rows(loop, begin, end, [&](int64_t position, const std::array<int64_t, 2>& offsets, int64_t count) {
      const T* x = a + offsets[0];
      const T* y = b + offsets[1];
      T* __restrict z = out + position;
      if (a_steps && b_steps) {
        for (int64_t i = 0; i < count; ++i) z[i] = store_element<T>(f(load_element(x[i]), load_element(y[i])));
      } else if (a_steps) {
        const auto fixed = load_element(*y);
        for (int64_t i = 0; i < count; ++i) z[i] = store_element<T>(f(load_element(x[i]), fixed));
      } else {
        const auto fixed = load_element(*x);
        for (int64_t i = 0; i < count; ++i) z[i] = store_element<T>(f(fixed, load_element(y[b_steps ? i : 0])));
      }
    });
  });
}

/// What plans need to merge an elementwise op with its neighbours: Self says by chain_step() which formula it is.
template <class Self>
class ElementwiseOp : public OpBase<Self>, public ChainMember {
 public:
  FusionRule fusion_rule() const override { return &fuse_elementwise; }
};

/// Base of y = f(a, b) with broadcasting. Self gives `name`, `grad`, `saves` and `template <class C> C eval(C a, C b)`
/// for C = float, double and, with `static constexpr bool kIntegers = true`, the integer types.
template <class Self>
class BinaryOp : public ElementwiseOp<Self> {
 public:
  /// `lane_size` is the context's when the op is made: gradients of a broadcast batch axis are summed by lanes (D5).
  explicit BinaryOp(int64_t lane_size) : lane_size_(lane_size) {}
  static constexpr bool kIntegers = false;

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(this->name(), in);
    if constexpr (!Self::kIntegers) {
      require_same_floating(this->name(), in);
    } else if (in[0].dtype != in[1].dtype) {
      throw_dtype(this->name(), "got " + in[0].str() + " and " + in[1].str() + ", wants one dtype");
    }
    return {Spec{in[0].dtype, broadcast(in[0].shape, in[1].shape, std::string(this->name()).c_str())}};
  }

  void run_cpu(Launch& launch) const {
    const auto run = [&](auto t) {
      map_binary<decltype(t)>(launch, [this](auto a, auto b) { return static_cast<const Self*>(this)->eval(a, b); });
    };
    if constexpr (Self::kIntegers)
      dispatch_all(launch.out[0].dtype(), run);
    else
      dispatch_floating(this->name(), launch.out[0].dtype(), run);
  }

 protected:
  int64_t lane_size() const { return lane_size_; }
  /// A gradient of the output's shape, summed back to input i.
  Tensor reduce_to_input(const Node& node, int i, const Tensor& gradient) const {
    return sum_to(gradient, node.input_spec(i).shape, lane_size_);
  }

 private:
  int64_t lane_size_;
};

/// Makes `Op(lane size of the first input's context, args...)` and applies it to a and b.
template <class Op>
Tensor apply_binary(const Tensor& a, const Tensor& b) {
  if (!a.defined()) throw_shape("elementwise", "input 0 is undefined");
  return apply_one(std::make_shared<Op>(a.context().lane_size()), {a, b});
}

/// Elements of a 16-bit tensor that are converted to f32 at a time.
inline constexpr int64_t kHalfBlock = 512;

/// Calls `rows(in, out, count)` with f32 or f64 rows that cover the tensor; 16-bit types go through blocks of f32.
template <class Rows>
void map_rows(Launch& launch, std::string_view op, const Rows& rows) {
  dispatch_floating(op, launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* x = launch.in[0].data<T>();
    T* y = launch.out[0].data<T>();
    for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
      if constexpr (!kIsHalf<T>) {
        rows(x + begin, y + begin, end - begin);
      } else {
        float block[kHalfBlock];
        for (int64_t at = begin; at < end; at += kHalfBlock) {
          const int64_t count = std::min(kHalfBlock, end - at);
          for (int64_t i = 0; i < count; ++i) block[i] = static_cast<float>(x[at + i]);
          rows(static_cast<const float*>(block), static_cast<float*>(block), count);
          for (int64_t i = 0; i < count; ++i) y[at + i] = T(block[i]);
        }
      }
    });
  });
}

/// Base of y = f(x). Self gives `name`, `grad`, `saves` and either `template <class C> C eval(C x)` or its own
/// `template <class C> void eval_rows(const C* x, C* y, int64_t count)` for C = float and double (x == y allowed).
template <class Self>
class UnaryOp : public ElementwiseOp<Self> {
 public:
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(this->name(), in);
    require_same_floating(this->name(), in);
    return {in[0]};
  }
  void run_cpu(Launch& launch) const {
    const Self& self = *static_cast<const Self*>(this);
    map_rows(launch, this->name(), [&](const auto* x, auto* y, int64_t count) { self.eval_rows(x, y, count); });
  }
  template <class C>
  void eval_rows(const C* x, C* y, int64_t count) const {
    const Self& self = *static_cast<const Self*>(this);
    for (int64_t i = 0; i < count; ++i) y[i] = self.eval(x[i]);
  }
};

/// Base of z = f(x, y) for two tensors of one spec, with Self's `template <class C> void eval_rows(const C* x,
/// const C* y, C* z, int64_t count)` for C = float and double (y == z allowed): backward kernels that are vectorised by
/// hand.
template <class Self>
class PairOp : public ElementwiseOp<Self> {
 public:
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(this->name(), in);
    require_same_floating(this->name(), in);
    if (in[0] != in[1])
      throw_shape(this->name(), "got " + in[0].str() + " and " + in[1].str() + ", wants equal shapes");
    return {in[0]};
  }
  void run_cpu(Launch& launch) const {
    const Self& self = *static_cast<const Self*>(this);
    dispatch_floating(this->name(), launch.out[0].dtype(), [&](auto t) {
      using T = decltype(t);
      const T* x = launch.in[0].data<T>();
      const T* y = launch.in[1].data<T>();
      T* z = launch.out[0].data<T>();
      for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
        if constexpr (!kIsHalf<T>) {
          self.eval_rows(x + begin, y + begin, z + begin, end - begin);
        } else {
          float a[kHalfBlock], b[kHalfBlock];
          for (int64_t at = begin; at < end; at += kHalfBlock) {
            const int64_t count = std::min(kHalfBlock, end - at);
            for (int64_t i = 0; i < count; ++i) a[i] = static_cast<float>(x[at + i]);
            for (int64_t i = 0; i < count; ++i) b[i] = static_cast<float>(y[at + i]);
            self.eval_rows(static_cast<const float*>(a), static_cast<const float*>(b), static_cast<float*>(b), count);
            for (int64_t i = 0; i < count; ++i) z[at + i] = T(b[i]);
          }
        }
      });
    });
  }
};

}  // namespace tern
