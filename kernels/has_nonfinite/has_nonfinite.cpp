#include "kernels/has_nonfinite/has_nonfinite.h"

#include <array>

#include "core/op.h"
#include "kernels/common/check.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace cuda {
void has_nonfinite(Launch& launch);  // has_nonfinite.cu
}
namespace {

/// The exponent's bits: all set in infinities and NaN, never in numbers.
template <class T>
struct Exponent;
template <>
struct Exponent<float> {
  using Bits = uint32_t;
  static constexpr Bits mask = 0x7f800000u;
};
template <>
struct Exponent<double> {
  using Bits = uint64_t;
  static constexpr Bits mask = 0x7ff0000000000000u;
};
template <>
struct Exponent<Half> {
  using Bits = uint16_t;
  static constexpr Bits mask = 0x7c00;
};
template <>
struct Exponent<BFloat16> {
  using Bits = uint16_t;
  static constexpr Bits mask = 0x7f80;
};

constexpr int64_t kChunk = int64_t{1} << 16;

class HasNonfinite final : public OpBase<HasNonfinite> {
 public:
  std::string_view name() const override { return "has_nonfinite"; }
  bool differentiable() const override { return false; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    require_same_floating(name(), in);
    return {Spec{DType::f32, Shape{1}}};
  }
  /// A byte for every chunk.
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if (context.device().kind == Device::Kind::cuda)
      return dispatch_floating(name(), in[0].dtype, [&](auto t) {
        return reduce_workspace<int, decltype(t)>(context, LaneReduction(in[0].shape, AxisMask().set(), 0));
      });
    return static_cast<size_t>((in[0].numel() + kChunk - 1) / kChunk);
  }

  void run_cpu(Launch& launch) const {
    std::byte* found = launch.workspace.data();
    dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
      using E = Exponent<decltype(t)>;
      using Bits = typename E::Bits;
      const Bits* x = static_cast<const Bits*>(launch.in[0].raw());
      for_chunks(
          launch.context, launch.in[0].numel(),
          [&](int64_t begin, int64_t end) {
            Bits any = 0;
            for (int64_t i = begin; i < end; ++i) any |= static_cast<Bits>((x[i] & E::mask) == E::mask);
            found[begin / kChunk] = std::byte{static_cast<uint8_t>(any)};
          },
          kChunk);
    });
    std::byte any{0};
    for (std::byte chunk : launch.workspace.first(workspace(std::array{launch.in[0].spec()}, launch.context)))
      any |= chunk;
    *launch.out[0].data<float>() = any == std::byte{0} ? 0.0f : 1.0f;
  }
  void run_cuda(Launch& launch) const { cuda::has_nonfinite(launch); }
};

}  // namespace

Tensor has_nonfinite(const Tensor& x) { return apply_one(std::make_shared<HasNonfinite>(), {x}); }

}  // namespace tern
