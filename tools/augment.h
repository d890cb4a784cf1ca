#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "core/rng.h"
#include "kernels/augment_images/augment_draws.h"
#include "kernels/pad/pad.h"
#include "tools/data_set.h"

/// Random changes to a training picture, on uint8 pixels before normalisation.
namespace tern::data {

/// Pads every side by `pad` pixels and cuts a picture of the old size out at a uniform place.
struct Crop {
  int pad = 4;
  PadMode mode = PadMode::zero;  ///< zero: raw pixel 0 (black), as torchvision's RandomCrop, which normalises to -mean/std; reflect: needs pad < height and width
};

/// Mirrors left to right with probability `p`. Alternating: whether it does is drawn once for a picture, and every odd epoch shows
/// the side that the even ones do not, so that two epochs in a row show both. Ref: Jordan 2024, arXiv:2404.00498.
struct Flip {
  float p = 0.5f;
  bool alternating = false;
};

/// Overwrites a square of `size` pixels, centred on a uniform pixel and cut off at the borders, with `fill`.
/// Ref: DeVries, Taylor: Improved regularization of convolutional neural networks with Cutout (2017).
struct Cutout {
  int size = 8;
  std::array<uint8_t, 3> fill = {0, 0, 0};  ///< a raw value a channel; raw_mean() gives what normalises to about 0
};

using Augment = std::variant<Crop, Flip, Cutout>;
/// The same as kernels/augment_images takes it.
AugmentStep augment_step(const Augment& step);

/// The raw pixel values nearest to `mean` (of pixels scaled to 0..1).
std::array<uint8_t, 3> raw_mean(const std::array<float, 3>& mean);

/// Throws ConfigError when a step does not suit pictures of this shape.
void check_augment(std::span<const Augment> steps, const PictureShape& shape);

/// Applies the steps in order to one picture [H,W,C]. What happens depends on (seed, epoch, sample) and the step's kind
/// and place in the list alone (D5). `scratch` is working memory that the caller keeps.
void apply_augment(std::span<const Augment> steps, const PictureShape& shape, uint64_t seed, uint64_t epoch,
                   uint64_t sample, std::span<uint8_t> picture, std::vector<uint8_t>& scratch);

}  // namespace tern::data
