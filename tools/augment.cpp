#include "tools/augment.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

namespace tern::data {
namespace {

struct Context {
  const PictureShape& shape;
  RngKey key;
  uint32_t place;  ///< in the list: two steps of one kind draw different numbers
  std::span<uint8_t> picture;
  std::vector<uint8_t>& scratch;

  AugmentDraw draw(const Augment& step) const {
    return draw_augment(augment_step(step), place, key, shape.height, shape.width);
  }
  uint8_t* pixel(int y, int x) const {
    return picture.data() + (static_cast<size_t>(y) * shape.width + x) * static_cast<size_t>(shape.channels);
  }
};

void apply(const Crop& crop, const Context& c) {
  const AugmentDraw draw = c.draw(crop);
  const int dy = draw.y, dx = draw.x;
  if (dy == 0 && dx == 0) return;
  c.scratch.assign(c.picture.begin(), c.picture.end());
  const int height = c.shape.height, width = c.shape.width, channels = c.shape.channels;
  const bool reflected = crop.mode == PadMode::reflect;
  // Columns first..last-1 come from inside the old picture: most of a row, copied in one piece.
  const int first = std::clamp(-dx, 0, width), last = std::clamp(width - dx, 0, width);
  for (int y = 0; y < height; ++y) {
    const int from_y = reflected ? mirrored(y + dy, height) : y + dy;
    if (from_y < 0 || from_y >= height) {
      std::fill_n(c.pixel(y, 0), width * channels, uint8_t{0});
      continue;
    }
    const uint8_t* row = c.scratch.data() + static_cast<ptrdiff_t>(from_y) * width * channels;
    const auto pad = [&](int x) {
      if (reflected) {
        std::copy_n(row + mirrored(x + dx, width) * channels, channels, c.pixel(y, x));
      } else {
        std::fill_n(c.pixel(y, x), channels, uint8_t{0});
      }
    };
    for (int x = 0; x < first; ++x) pad(x);
    if (last > first) std::copy_n(row + (first + dx) * channels, (last - first) * channels, c.pixel(y, first));
    for (int x = last; x < width; ++x) pad(x);
  }
}

void apply(const Flip& flip, const Context& c) {
  if (!c.draw(flip).on) return;
  for (int y = 0; y < c.shape.height; ++y) {
    for (int left = 0, right = c.shape.width - 1; left < right; ++left, --right) {
      std::swap_ranges(c.pixel(y, left), c.pixel(y, left) + c.shape.channels, c.pixel(y, right));
    }
  }
}

void apply(const Cutout& cutout, const Context& c) {
  const AugmentDraw draw = c.draw(cutout);
  const int top = draw.y, left = draw.x;
  for (int y = std::max(top, 0); y < std::min(top + cutout.size, c.shape.height); ++y) {
    for (int x = std::max(left, 0); x < std::min(left + cutout.size, c.shape.width); ++x) {
      std::copy_n(cutout.fill.data(), c.shape.channels, c.pixel(y, x));
    }
  }
}

void check(const Crop& crop, const PictureShape& shape) {
  const int most = crop.mode == PadMode::reflect ? std::min(shape.height, shape.width) - 1 : 1024;
  if (crop.pad < 0 || crop.pad > most) {
    throw ConfigError("[augment] crop.pad is " + std::to_string(crop.pad) + ", wanted 0.." + std::to_string(most));
  }
}

void check(const Flip& flip, const PictureShape&) {
  if (!(flip.p >= 0.0f && flip.p <= 1.0f)) {
    throw ConfigError("[augment] flip.p is " + std::to_string(flip.p) + ", wanted 0..1");
  }
}

void check(const Cutout& cutout, const PictureShape& shape) {
  const int most = 2 * std::max(shape.height, shape.width);  // covers the picture from any centre
  if (cutout.size < 1 || cutout.size > most) {
    throw ConfigError("[augment] cutout.size is " + std::to_string(cutout.size) + ", wanted 1.." +
                      std::to_string(most));
  }
  if (shape.channels > static_cast<int>(cutout.fill.size())) {
    throw ConfigError("[augment] cutout fills up to 3 channels but the pictures have " +
                      std::to_string(shape.channels));
  }
}

}  // namespace

AugmentStep augment_step(const Augment& step) {
  AugmentStep plain;
  if (const auto* crop = std::get_if<Crop>(&step)) {
    plain.kind = AugmentStep::Kind::crop;
    plain.pad = crop->pad;
    plain.reflect = crop->mode == PadMode::reflect;
  } else if (const auto* flip = std::get_if<Flip>(&step)) {
    plain.kind = AugmentStep::Kind::flip;
    plain.p = flip->p;
    plain.alternating = flip->alternating;
  } else {
    const auto& cutout = std::get<Cutout>(step);
    plain.kind = AugmentStep::Kind::cutout;
    plain.size = cutout.size;
    std::ranges::copy(cutout.fill, plain.fill);
  }
  return plain;
}

std::array<uint8_t, 3> raw_mean(const std::array<float, 3>& mean) {
  std::array<uint8_t, 3> raw{};
  for (size_t c = 0; c < raw.size(); ++c) {
    raw[c] = static_cast<uint8_t>(std::lround(std::clamp(mean[c], 0.0f, 1.0f) * 255.0f));
  }
  return raw;
}

void check_augment(std::span<const Augment> steps, const PictureShape& shape) {
  for (const Augment& step : steps) std::visit([&](const auto& s) { check(s, shape); }, step);
}

void apply_augment(std::span<const Augment> steps, const PictureShape& shape, uint64_t seed, uint64_t epoch,
                   uint64_t sample, std::span<uint8_t> picture, std::vector<uint8_t>& scratch) {
  for (uint32_t place = 0; place < steps.size(); ++place) {
    const Context context{shape, {.seed = seed, .epoch = epoch, .sample = sample}, place, picture, scratch};
    std::visit([&](const auto& step) { apply(step, context); }, steps[place]);
  }
}

}  // namespace tern::data
