#include "kernels/normalize_images/normalize_images.h"

#include <type_traits>

#include "core/error.h"
#include "core/op.h"
#include "kernels/common/parallel.h"
#include "kernels/common/scratch.h"

namespace tern {
namespace cuda {
void normalize_images(Launch& launch, const NormalizeImages& options);  // normalize_images.cu
}
namespace {

/// in: x. out: y.
class NormalizeImagesOp final : public OpBase<NormalizeImagesOp> {
 public:
  explicit NormalizeImagesOp(NormalizeImages options) : options_(std::move(options)) {}
  std::string_view name() const override { return "normalize_images"; }
  bool differentiable() const override { return false; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  size_t workspace(std::span<const Spec> in, Context& context) const override {
    if (context.device().kind == Device::Kind::cuda) return 0;
    return scratch_bytes<double>(kLevels * in[0].shape[-1]);
  }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::normalize_images(launch, options_); }

 private:
  static constexpr int64_t kLevels = 256;
  NormalizeImages options_;
};

std::vector<Spec> NormalizeImagesOp::infer(std::span<const Spec> in) const {
  const Shape& x = in[0].shape;
  if (in[0].dtype != DType::u8) throw_dtype(name(), "x is " + std::string(name_of(in[0].dtype)) + ", wants u8");
  if (x.rank() != 4) throw_shape(name(), "x is " + x.str() + ", wants [N,H,W,C]");
  if (x.numel() == 0) throw_shape(name(), "x " + x.str() + " is empty");
  if (!is_floating(options_.dtype)) throw_not_floating(name(), options_.dtype);
  const size_t channels = static_cast<size_t>(x[3]);
  if (options_.mean.size() != channels || options_.std.size() != channels)
    throw ConfigError("[normalize_images] " + std::to_string(options_.mean.size()) + " means and " +
                      std::to_string(options_.std.size()) + " deviations for " + std::to_string(channels) +
                      " channels");
  for (double std : options_.std)
    if (!(std > 0)) throw ConfigError("[normalize_images] std " + std::to_string(std) + " wants to be above 0");
  return {{options_.dtype, x}};
}

void NormalizeImagesOp::run_cpu(Launch& launch) const {
  const int64_t channels = launch.in[0].size(3);
  const uint8_t* x = launch.in[0].data<uint8_t>();
  dispatch_floating(name(), options_.dtype, [&](auto t) {
    using T = decltype(t);
    // A pixel has 256 values, so the arithmetic is done once for each.
    T* table = Scratch(launch.workspace).take<T>(kLevels * channels);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t level = 0; level < kLevels; ++level) {
        const float scaled = static_cast<float>(level) / 255.0f;
        const size_t i = static_cast<size_t>(c);
        table[c * kLevels + level] =
            static_cast<T>((scaled - static_cast<float>(options_.mean[i])) / static_cast<float>(options_.std[i]));
      }
    T* y = launch.out[0].data<T>();
    const auto look_up = [&](int64_t begin, int64_t end, auto count) {
      for (int64_t pixel = begin; pixel < end; ++pixel)
        for (int64_t c = 0; c < count; ++c) y[pixel * count + c] = table[c * kLevels + x[pixel * count + c]];
    };
    for_chunks(launch.context, launch.in[0].numel() / channels, [&](int64_t begin, int64_t end) {
      if (channels == 3) return look_up(begin, end, std::integral_constant<int64_t, 3>());
      look_up(begin, end, channels);
    }, kElementChunk / 4);
  });
}

}  // namespace

Tensor normalize_images(const Tensor& x, const NormalizeImages& options) {
  return apply_one(std::make_shared<NormalizeImagesOp>(options), {x});
}

}  // namespace tern
