#pragma once
#include "kernels/common/elementwise.h"

namespace tern {

/// Base of y = f(x, number): UnaryOp with a number as attribute, rounded to the type that x is computed in. Self gives
/// `template <class C> C eval(C x, C number)`; with kIntegers, integer dtypes too.
template <class Self>
class ScalarOp : public ElementwiseOp<Self> {
 public:
  explicit ScalarOp(double number) : number_(number) {}
  static constexpr bool kIntegers = false;
  double number() const { return number_; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(this->name(), in);
    if constexpr (!Self::kIntegers) require_same_floating(this->name(), in);
    return {in[0]};
  }
  void run_cpu(Launch& launch) const {
    const auto run = [&](auto t) {
      using T = decltype(t);
      const T* x = launch.in[0].data<T>();
      T* y = launch.out[0].data<T>();
      const auto number = static_cast<Compute<T>>(number_);
      for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
        const Self& self = *static_cast<const Self*>(this);
        for (int64_t i = begin; i < end; ++i) y[i] = store_element<T>(self.eval(load_element(x[i]), number));
      });
    };
    if constexpr (Self::kIntegers)
      dispatch_all(launch.out[0].dtype(), run);
    else
      dispatch_floating(this->name(), launch.out[0].dtype(), run);
  }

 private:
  double number_;
};

}  // namespace tern
