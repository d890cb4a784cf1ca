// Rows of the ops that prepare pictures.
#include "kernels/augment_images/augment_images.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

constexpr AugmentStep kCrop{.kind = AugmentStep::Kind::crop, .pad = 3};
constexpr AugmentStep kMirroredCrop{.kind = AugmentStep::Kind::crop, .pad = 2, .reflect = true};
constexpr AugmentStep kFlip{.kind = AugmentStep::Kind::flip, .p = 0.5f};
constexpr AugmentStep kCutout{.kind = AugmentStep::Kind::cutout, .size = 3, .fill = {9, 8, 7}};

/// One picture [H,W,C] after one step, done to the whole of it as torchvision does.
std::vector<double> changed(const std::vector<double>& x, int h, int w, int channels, const AugmentStep& step, const AugmentDraw& draw) {
  const auto at = [&](int y, int col, int c) { return static_cast<size_t>((y * w + col) * channels + c); };
  std::vector<double> result = x;
  for (int y = 0; y < h; ++y)
    for (int col = 0; col < w; ++col)
      for (int c = 0; c < channels; ++c) {
        double& out = result[at(y, col, c)];
        if (step.kind == AugmentStep::Kind::flip) {
          if (draw.on) out = x[at(y, w - 1 - col, c)];
        } else if (step.kind == AugmentStep::Kind::cutout) {
          if (y >= draw.y && y < draw.y + step.size && col >= draw.x && col < draw.x + step.size) out = step.fill[c];
        } else {
          int from_y = y + draw.y, from_x = col + draw.x;
          if (step.reflect) {
            from_y = from_y < 0 ? -from_y : from_y >= h ? 2 * h - 2 - from_y : from_y;
            from_x = from_x < 0 ? -from_x : from_x >= w ? 2 * w - 2 - from_x : from_x;
          }
          out = from_y < 0 || from_y >= h || from_x < 0 || from_x >= w ? 0 : x[at(from_y, from_x, c)];
        }
      }
  return result;
}

OpCase augment_case(const char* variant, const std::vector<AugmentStep>& steps) {
  const auto inputs = [](const Shape& pictures, int64_t count) {
    return std::vector<Input>{{.shape = pictures, .low = 0, .high = 256, .floating = false, .fixed = DType::u8},
                              {.shape = {count}, .low = 0, .high = static_cast<double>(pictures[0]), .floating = false},
                              {.shape = {2}, .low = 0, .high = 1000, .floating = false}};
  };
  return {.op = "augment_images",
          .variant = variant,
          .inputs = {inputs({5, 9, 7, 3}, 11), inputs({1, 5, 31, 3}, 1), inputs({17, 32, 32, 3}, 3)},
          .run = [steps](std::span<const Tensor> in) { return std::vector{augment_images(in[0], in[1], in[2], {steps})}; },
          .reference =
              [steps](std::span<const Array> in) {
                const int h = static_cast<int>(in[0].shape[1]), w = static_cast<int>(in[0].shape[2]);
                const auto size = static_cast<size_t>(h * w * 3);
                Array y{in[0].shape.with(0, in[1].shape[0]), {}};
                for (const double sample : in[1].values) {
                  const auto* first = in[0].values.data() + static_cast<size_t>(sample) * size;
                  std::vector<double> picture(first, first + size);
                  const RngKey key{static_cast<uint64_t>(in[2][0]), static_cast<uint64_t>(in[2][1]), static_cast<uint64_t>(sample), 0};
                  for (uint32_t i = 0; i < steps.size(); ++i)
                    picture = changed(picture, h, w, 3, steps[i], draw_augment(steps[i], i, key, h, w));
                  y.values.insert(y.values.end(), picture.begin(), picture.end());
                }
                return std::vector{y};
              },
          .f64 = false,
          .half = false,
          .gradient = false,
          .nan_passes = false,
          .bench = inputs({2048, 32, 32, 3}, 128)};
}

}  // namespace

std::vector<OpCase> data_cases() {
  return {augment_case("none", {}), augment_case("crop_flip", {kCrop, kFlip}),
          augment_case("all", {kMirroredCrop, kFlip, kCutout, kCrop})};
}

}  // namespace tern::testing
