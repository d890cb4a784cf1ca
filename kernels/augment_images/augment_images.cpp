#include "kernels/augment_images/augment_images.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/op.h"
#include "kernels/augment_images/augment_ops.h"
#include "kernels/common/parallel.h"

namespace tern {

std::vector<Spec> AugmentImagesOp::infer(std::span<const Spec> in) const {
  const Shape& x = in[0].shape;
  if (in[0].dtype != DType::u8 || x.rank() != 4) throw_shape(name(), "pictures are " + in[0].str() + ", wants u8[D,H,W,C]");
  if (in[1].dtype != DType::i64 || in[1].shape.rank() != 1) throw_shape(name(), "samples are " + in[1].str() + ", wants i64[N]");
  if (in[2] != Spec{DType::i64, {2}}) throw_shape(name(), "the random key is " + in[2].str() + ", wants i64[2]");
  if (options_.steps.size() > AugmentImages::kMaxSteps)
    throw ConfigError("[augment_images] " + std::to_string(options_.steps.size()) + " steps, wants at most " +
                      std::to_string(AugmentImages::kMaxSteps));
  for (const AugmentStep& step : options_.steps) {
    if (step.kind == AugmentStep::Kind::cutout && x[3] > 3) throw_shape(name(), "cutout fills up to 3 channels, pictures are " + x.str());
    if (step.kind == AugmentStep::Kind::crop && (step.pad < 0 || (step.reflect && step.pad >= std::min(x[1], x[2]))))
      throw ConfigError("[augment_images] pad is " + std::to_string(step.pad) + " for pictures " + x.str());
  }
  return {{DType::u8, x.with(0, in[1].shape[0])}};
}

void AugmentImagesOp::run_cpu(Launch& launch) const {
  const Shape& shape = launch.in[0].shape();
  const auto height = static_cast<int32_t>(shape[1]), width = static_cast<int32_t>(shape[2]);
  const int64_t channels = shape[3], bytes = shape.numel() / shape[0];
  const int64_t* samples = launch.in[1].data<int64_t>();
  const int64_t* key = launch.in[2].data<int64_t>();
  const auto count = static_cast<int32_t>(options_.steps.size());
  constexpr uint8_t kZeros[3] = {0, 0, 0};
  const std::vector<uint8_t> black(static_cast<size_t>(channels), 0);
  for_chunks(launch.context, launch.in[1].numel(), [&](int64_t begin, int64_t end) {
    std::array<AugmentDraw, AugmentImages::kMaxSteps> draws;
    for (int64_t n = begin; n < end; ++n) {
      if (samples[n] < 0 || samples[n] >= shape[0])
        throw DataError("[augment_images] sample " + std::to_string(n) + " is picture " + std::to_string(samples[n]) + " of " +
                        std::to_string(shape[0]));
      const RngKey mine{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1]), static_cast<uint64_t>(samples[n]), 0};
      for (int32_t i = 0; i < count; ++i)
        draws[static_cast<size_t>(i)] = draw_augment(options_.steps[static_cast<size_t>(i)], static_cast<uint32_t>(i), mine, height, width);
      const uint8_t* from = launch.in[0].data<uint8_t>() + samples[n] * bytes;
      uint8_t* to = launch.out[0].data<uint8_t>() + n * bytes;
      for (int32_t y = 0; y < height; ++y)
        for (int32_t x = 0; x < width; ++x, to += channels) {
          const PixelSource source = trace_pixel(options_.steps.data(), draws.data(), count, height, width, y, x, kZeros);
          const uint8_t* pixel = source.fill == kZeros ? black.data()
                                 : source.fill         ? source.fill
                                                       : from + (int64_t{source.y} * width + source.x) * channels;
          std::copy_n(pixel, channels, to);
        }
    }
  }, 1);
}

Tensor augment_images(const Tensor& pictures, const Tensor& samples, const Tensor& key, const AugmentImages& options) {
  return apply_one(std::make_shared<AugmentImagesOp>(options), {pictures, samples, key});
}

}  // namespace tern
