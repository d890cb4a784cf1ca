// The op against the loader's way of changing a picture: two pieces of code, the same bytes.
#include "kernels/augment_images/augment_images.h"

#include "core/error.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"
#include "tools/augment.h"

namespace {

using namespace tern;

constexpr int kHeight = 13, kWidth = 9, kChannels = 3, kPictures = 11;

std::vector<uint8_t> pictures() {
  std::vector<uint8_t> pixels(kPictures * kHeight * kWidth * kChannels);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(random4({3, 0, i, 1}).v[0] | 1);
  return pixels;
}

const std::vector<std::vector<data::Augment>> kLists = {
    {},
    {data::Crop{.pad = 4}},
    {data::Crop{.pad = 8, .mode = PadMode::reflect}, data::Flip{.p = 0.5f}},
    {data::Flip{.p = 1.0f}, data::Cutout{.size = 5, .fill = {7, 8, 9}}, data::Crop{.pad = 2}},
    {data::Flip{.p = 0.5f, .alternating = true}, data::Crop{.pad = 2, .mode = PadMode::reflect}},
    {data::Cutout{.size = 4}, data::Flip{}, data::Cutout{.size = 3, .fill = {1, 2, 3}}},
};

void check_on(Context::Options options) {
  for (const auto& list : kLists)
    for (const uint64_t epoch : {0, 1, 5}) {
      Context context(options);
      context.set_rng_key(21, epoch);
      AugmentImages changes;
      for (const data::Augment& step : list) changes.steps.push_back(data::augment_step(step));
      const std::vector<uint8_t> all = pictures();
      const std::vector<int64_t> samples = {10, 0, 3, 3, 7, 1, 9};
      const Tensor set = Tensor::from(context, {kPictures, kHeight, kWidth, kChannels}, all);
      const Tensor out = augment_images(set, Tensor::from(context, {7}, samples), context.rng_key(), changes);
      const std::vector<uint8_t> got = out.to_vector<uint8_t>();

      std::vector<uint8_t> wanted, scratch;
      const data::PictureShape shape{kHeight, kWidth, kChannels};
      for (const int64_t sample : samples) {
        std::vector<uint8_t> picture(all.begin() + sample * shape.bytes(), all.begin() + (sample + 1) * shape.bytes());
        data::apply_augment(list, shape, 21, epoch, static_cast<uint64_t>(sample), picture, scratch);
        wanted.insert(wanted.end(), picture.begin(), picture.end());
      }
      CHECK(got == wanted);
    }
}

}  // namespace

TEST_CASE("augment_images: the bytes of the loader's threads", "[data]") { check_on({.threads = 2}); }

TEST_CASE("cuda: augment_images gives the bytes of the loader's threads", "[cuda][data]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  check_on(test::on_gpu());
}

TEST_CASE("augment_images: a picture outside the data set is refused", "[data]") {
  Context context({.threads = 1});
  const Tensor set = Tensor::from(context, {kPictures, kHeight, kWidth, kChannels}, pictures());
  const auto take = [&](int64_t sample) { return augment_images(set, Tensor::from(context, {1}, std::vector<int64_t>{sample}), context.rng_key()); };
  CHECK_THROWS_WITH(take(11), HasText("sample 0 is picture 11 of 11"));
  CHECK_THROWS_AS(take(-1), DataError);
  CHECK_THROWS_AS(augment_images(set, Tensor::zeros(context, {1}, DType::i64), Tensor::zeros(context, {3}, DType::i64)), ShapeError);
}
