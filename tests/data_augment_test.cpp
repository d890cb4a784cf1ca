#include <algorithm>
#include <set>

#include "tests/catch.h"
#include "tests/data_test_util.h"
#include "tools/augment.h"

namespace tern::data {
namespace {

constexpr PictureShape kShape = {7, 9, 3};

using Picture = std::vector<uint8_t>;

Picture numbered() {
  Picture picture(static_cast<size_t>(kShape.bytes()));
  for (size_t i = 0; i < picture.size(); ++i) picture[i] = static_cast<uint8_t>(i + 1);
  return picture;
}

Picture augmented(std::vector<Augment> steps, uint64_t sample, uint64_t epoch = 0, uint64_t seed = 5) {
  Picture picture = numbered(), scratch;
  apply_augment(steps, kShape, seed, epoch, sample, picture, scratch);
  return picture;
}

uint8_t at(const Picture& picture, int y, int x, int c) {
  return picture[static_cast<size_t>((y * kShape.width + x) * kShape.channels + c)];
}

/// Pads on paper, then cuts: every picture a crop can give, in the order of its offsets.
std::vector<Picture> all_crops(int pad, PadMode mode) {
  const Picture source = numbered();
  const int height = kShape.height + 2 * pad, width = kShape.width + 2 * pad;
  const auto mirrored = [](int i, int n) {  // walk there one pixel at a time, turning at the edges
    int place = 0, direction = 1;
    for (int k = 0; k < std::abs(i); ++k) {
      if (place + direction < 0 || place + direction >= n) direction = -direction;
      place += direction;
    }
    return place;
  };
  Picture padded(static_cast<size_t>(height * width * 3), 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int sy = y - pad, sx = x - pad;
      const bool inside = sy >= 0 && sy < kShape.height && sx >= 0 && sx < kShape.width;
      if (!inside && mode == PadMode::zero) continue;
      for (int c = 0; c < 3; ++c) {
        padded[static_cast<size_t>((y * width + x) * 3 + c)] =
            at(source, mirrored(sy, kShape.height), mirrored(sx, kShape.width), c);
      }
    }
  }
  std::vector<Picture> crops;
  for (int dy = 0; dy <= 2 * pad; ++dy) {
    for (int dx = 0; dx <= 2 * pad; ++dx) {
      Picture crop;
      for (int y = 0; y < kShape.height; ++y) {
        const auto row = padded.begin() + ((y + dy) * width + dx) * 3;
        crop.insert(crop.end(), row, row + kShape.width * 3);
      }
      crops.push_back(crop);
    }
  }
  return crops;
}

}  // namespace

TEST_CASE("augment: pad-crop gives every padded crop about equally often, and nothing else", "[data]") {
  for (const PadMode mode : {PadMode::zero, PadMode::reflect}) {
    for (const int pad : {1, 2, 3}) {
      const std::vector<Picture> crops = all_crops(pad, mode);
      std::vector<int> count(crops.size(), 0);
      const int draws = 40 * static_cast<int>(crops.size());
      int unknown = 0;
      for (int sample = 0; sample < draws; ++sample) {
        const auto found = std::find(crops.begin(), crops.end(), augmented({Crop{pad, mode}}, sample));
        if (found == crops.end()) {
          ++unknown;
        } else {
          ++count[static_cast<size_t>(found - crops.begin())];
        }
      }
      CHECK(unknown == 0);
      CHECK(*std::min_element(count.begin(), count.end()) > 10);
      CHECK(*std::max_element(count.begin(), count.end()) < 80);
    }
  }
  CHECK(augmented({Crop{0, PadMode::zero}}, 1) == numbered());
}

TEST_CASE("augment: flip mirrors the columns, half of the time", "[data]") {
  Picture mirrored = numbered();
  for (int y = 0; y < kShape.height; ++y) {
    for (int x = 0; x < kShape.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        mirrored[static_cast<size_t>((y * kShape.width + x) * 3 + c)] = at(numbered(), y, kShape.width - 1 - x, c);
      }
    }
  }
  int flipped = 0;
  for (int sample = 0; sample < 1000; ++sample) {
    const Picture picture = augmented({Flip{}}, sample);
    REQUIRE((picture == mirrored || picture == numbered()));
    flipped += picture == mirrored;
  }
  CHECK(std::abs(flipped - 500) < 80);  // five deviations
  CHECK(augmented({Flip{1.0f}}, 3) == mirrored);
  CHECK(augmented({Flip{0.0f}}, 3) == numbered());
  int drawn = 0;
  for (int sample = 0; sample < 1000; ++sample) {
    const Flip alternating{.p = 0.5f, .alternating = true};
    const Picture first = augmented({alternating}, sample, 0);
    drawn += first == mirrored;
    for (const uint64_t epoch : {1, 2, 3, 8})  // even epochs show the first one's side, odd ones the other
      CHECK(augmented({alternating}, sample, epoch) == (epoch % 2 == 0 ? first : first == mirrored ? numbered() : mirrored));
  }
  CHECK(std::abs(drawn - 500) < 80);
}

TEST_CASE("augment: cutout fills one square that may hang over the border", "[data]") {
  const int size = 4;
  const std::array<uint8_t, 3> fill = {250, 251, 252};  // the numbered picture stops at 189
  std::set<std::pair<int, int>> corners;
  for (int sample = 0; sample < 600; ++sample) {
    const Picture picture = augmented({Cutout{size, fill}}, sample);
    int top = 99, left = 99, bottom = -1, right = -1, filled = 0;
    for (int y = 0; y < kShape.height; ++y) {
      for (int x = 0; x < kShape.width; ++x) {
        const bool cut = at(picture, y, x, 0) == fill[0];
        for (int c = 0; c < 3; ++c) REQUIRE(at(picture, y, x, c) == (cut ? fill[c] : at(numbered(), y, x, c)));
        if (!cut) continue;
        ++filled;
        top = std::min(top, y), bottom = std::max(bottom, y), left = std::min(left, x), right = std::max(right, x);
      }
    }
    REQUIRE(filled == (bottom - top + 1) * (right - left + 1));
    REQUIRE(((bottom - top + 1 == size) || top == 0 || bottom == kShape.height - 1));
    REQUIRE(((right - left + 1 == size) || left == 0 || right == kShape.width - 1));
    corners.insert({bottom, right});
  }
  CHECK(corners.size() > 40);  // of 63 centres
  CHECK(raw_mean({0.0f, 0.4914f, 1.0f}) == std::array<uint8_t, 3>{0, 125, 255});
}

TEST_CASE("augment: the draws depend on seed, epoch, sample and place in the list", "[data]") {
  const std::vector<Augment> steps = {Crop{2, PadMode::reflect}, Flip{}, Cutout{3, {}}};
  int equal_sample = 0, equal_epoch = 0, equal_seed = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    REQUIRE(augmented(steps, i) == augmented(steps, i));
    equal_sample += augmented(steps, i) == augmented(steps, i + 1);
    equal_epoch += augmented(steps, i, 0) == augmented(steps, i, 1);
    equal_seed += augmented(steps, i, 0, 5) == augmented(steps, i, 0, 6);
  }
  CHECK(equal_sample + equal_epoch + equal_seed < 6);

  int same_twice = 0;  // two cutouts in one list are two squares
  for (uint64_t i = 0; i < 50; ++i) {
    same_twice += augmented({Cutout{2, {255, 255, 255}}, Cutout{2, {255, 255, 255}}}, i) ==
                  augmented({Cutout{2, {255, 255, 255}}}, i);
  }
  CHECK(same_twice < 10);
}

TEST_CASE("augment: steps that do not suit the pictures are refused", "[data]") {
  const auto refused = [](Augment step, PictureShape shape = kShape) {
    const std::vector<Augment> steps = {step};
    return testing::message_of<ConfigError>([&] { check_augment(steps, shape); });
  };
  CHECK(testing::contains(refused(Crop{7, PadMode::reflect}), "crop.pad is 7, wanted 0..6"));
  CHECK(refused(Crop{7, PadMode::zero}).empty());
  CHECK(testing::contains(refused(Crop{-1, PadMode::zero}), "crop.pad is -1"));
  CHECK(testing::contains(refused(Flip{1.5f}), "flip.p is 1.5"));
  CHECK(testing::contains(refused(Cutout{0, {}}), "cutout.size is 0"));
  CHECK(testing::contains(refused(Cutout{2, {}}, {8, 8, 4}), "pictures have 4"));
}

}  // namespace tern::data
