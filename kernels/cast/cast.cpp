#include "kernels/cast/cast.h"

#include <limits>

#include "core/autograd.h"
#include "kernels/common/check.h"
#include "kernels/common/convert.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace {

template <class To, class From>
To convert(From value) {
  const auto x = load_element(value);
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<decltype(x)>) {
    // 2^digits is exact in every floating type, unlike the largest integer below it.
    using F = std::remove_const_t<decltype(x)>;
    constexpr F kEnd = static_cast<F>(To{1} << (std::numeric_limits<To>::digits - 1)) * 2;
    if (x != x) return To{0};
    if (x >= kEnd) return std::numeric_limits<To>::max();
    if (x < static_cast<F>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    return static_cast<To>(x);
  } else if constexpr (kIsHalf<To>) {
    return To(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

class Cast final : public OpBase<Cast> {
 public:
  explicit Cast(DType dtype) : dtype_(dtype) {}
  std::string_view name() const override { return "cast"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    return {Spec{dtype_, in[0].shape}};
  }

  void run_cpu(Launch& launch) const {
    dispatch_all(launch.in[0].dtype(), [&](auto from) {
      dispatch_all(dtype_, [&](auto to) {
        using From = decltype(from);
        using To = decltype(to);
        const From* x = launch.in[0].data<From>();
        To* y = launch.out[0].data<To>();
        for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) y[i] = convert<To>(x[i]);
        });
      });
    });
  }

  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {cast(dy[0], node.input_spec(0).dtype)};
  }

 private:
  DType dtype_;
};

}  // namespace

Tensor cast(const Tensor& x, DType dtype) {
  return x.dtype() == dtype ? x : apply_one(std::make_shared<Cast>(dtype), {x});
}

}  // namespace tern
