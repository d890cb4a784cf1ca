#pragma once
#include <cstdint>

#include "core/rng.h"

/// What an augmentation draws for a picture, and where each of its pixels then comes from: for the loader's threads, the
/// op on the CPU and its CUDA kernel alike.
namespace tern {

/// One random change, see AugmentImages.
struct AugmentStep {
  enum class Kind : int32_t { crop, flip, cutout };
  Kind kind = Kind::flip;
  int32_t pad = 0;        ///< crop
  bool reflect = false;   ///< crop: mirrored borders; else zeros
  float p = 0.5f;         ///< flip
  bool alternating = false;  ///< flip: drawn once for a picture; odd epochs show the other side
  int32_t size = 0;       ///< cutout
  uint8_t fill[3] = {0, 0, 0};  ///< cutout: a value a channel
};

/// What a step does to one picture.
struct AugmentDraw {
  int32_t y = 0, x = 0;  ///< crop: output pixel (i, j) is (i + y, j + x); cutout: the square's corner
  bool on = false;       ///< flip
};

/// The draw of the step at `place` in the list; key.op is set here.
TERN_HOST_DEVICE inline AugmentDraw draw_augment(const AugmentStep& step, uint32_t place, RngKey key, int32_t height,
                                                 int32_t width) {
  switch (step.kind) {
    case AugmentStep::Kind::crop: {
      key.op = kRngCrop;
      const Random4 words = random4(key, place);
      const uint32_t places = static_cast<uint32_t>(2 * step.pad + 1);
      return {static_cast<int32_t>(uniform_below(words.v[0], places)) - step.pad,
              static_cast<int32_t>(uniform_below(words.v[1], places)) - step.pad, false};
    }
    case AugmentStep::Kind::flip: {
      key.op = kRngFlip;
      const bool other_side = step.alternating && key.epoch % 2 != 0;
      if (step.alternating) key.epoch = 0;
      return {0, 0, (!(uniform01(random4(key, place).v[0]) >= step.p)) != other_side};
    }
    case AugmentStep::Kind::cutout: break;
  }
  key.op = kRngCutout;
  const Random4 words = random4(key, place);
  return {static_cast<int32_t>(uniform_below(words.v[0], static_cast<uint32_t>(height))) - step.size / 2,
          static_cast<int32_t>(uniform_below(words.v[1], static_cast<uint32_t>(width))) - step.size / 2, false};
}

/// Index i mirrored about the ends of 0..n-1, at most once.
TERN_HOST_DEVICE inline int32_t mirrored(int32_t i, int32_t n) {
  if (i < 0) return -i;
  return i < n ? i : 2 * (n - 1) - i;
}

/// Where a pixel of the changed picture comes from: pixel (y, x) of the original, or a constant.
struct PixelSource {
  int32_t y, x;
  const uint8_t* fill;  ///< not null: a value a channel, instead of a pixel
};

/// Follows output pixel (y, x) back through the steps, the last one first. `zeros`: three zero bytes.
TERN_HOST_DEVICE inline PixelSource trace_pixel(const AugmentStep* steps, const AugmentDraw* draws, int32_t count,
                                                int32_t height, int32_t width, int32_t y, int32_t x,
                                                const uint8_t* zeros) {
  for (int32_t i = count - 1; i >= 0; --i) {
    const AugmentDraw& draw = draws[i];
    if (steps[i].kind == AugmentStep::Kind::cutout) {
      const int32_t size = steps[i].size;
      if (y >= draw.y && y < draw.y + size && x >= draw.x && x < draw.x + size) return {0, 0, steps[i].fill};
    } else if (steps[i].kind == AugmentStep::Kind::flip) {
      if (draw.on) x = width - 1 - x;
    } else {
      y += draw.y;
      x += draw.x;
      if (steps[i].reflect) {
        y = mirrored(y, height);
        x = mirrored(x, width);
      } else if (y < 0 || y >= height || x < 0 || x >= width) {
        return {0, 0, zeros};
      }
    }
  }
  return {y, x, nullptr};
}

}  // namespace tern
