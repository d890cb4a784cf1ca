#include "tools/data_synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "tests/catch.h"
#include "tests/data_test_util.h"
#include "tools/data_digest.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPixels = 3072;
/// Of 50 training pictures at seed 1, by GCC 12 and clang 14 alike.
constexpr std::string_view kPinned = "d2dc55998e0d6dfc43b9acd14424a91cefcd9583e78ec1ebec24a42b35a5bcd6";

/// Softmax regression on raw pixels by plain stochastic gradient descent.
class LinearModel {
 public:
  std::array<float, 10> scores(const std::vector<uint8_t>& picture) const {
    std::array<float, 10> out = bias_;
    for (size_t k = 0; k < 10; ++k) {
      float sum = 0;
      for (size_t i = 0; i < kPixels; ++i) sum += weights_[k * kPixels + i] * scaled(picture[i]);
      out[k] += sum;
    }
    return out;
  }
  void step(const std::vector<uint8_t>& picture, size_t label, float rate) {
    std::array<float, 10> p = scores(picture);
    const float most = *std::max_element(p.begin(), p.end());
    for (float& v : p) v = std::exp(v - most);
    const float sum = std::accumulate(p.begin(), p.end(), 0.0f);
    for (size_t k = 0; k < 10; ++k) {
      const float slope = rate * (p[k] / sum - (k == label ? 1.0f : 0.0f));
      bias_[k] -= slope;
      for (size_t i = 0; i < kPixels; ++i) weights_[k * kPixels + i] -= slope * scaled(picture[i]);
    }
  }

 private:
  static float scaled(uint8_t pixel) { return static_cast<float>(pixel) / 127.5f - 1.0f; }
  std::vector<float> weights_ = std::vector<float>(10 * kPixels, 0.0f);
  std::array<float, 10> bias_{};
};

double accuracy(const LinearModel& model, const Dataset& data) {
  int64_t right = 0;
  std::vector<uint8_t> picture(kPixels);
  for (int64_t i = 0; i < data.size(); ++i) {
    data.read(i, picture);
    const std::array<float, 10> scores = model.scores(picture);
    right += std::max_element(scores.begin(), scores.end()) - scores.begin() == data.label(i);
  }
  return static_cast<double>(right) / static_cast<double>(data.size());
}

}  // namespace

TEST_CASE("synthetic: a linear model stays under 60 %", "[data]") {
  const testing::TemporaryDir dir;
  write_synthetic(dir.path(), {.train = 3000, .test = 1000, .seed = 1});
  const DatasetPtr train = open_dataset("synthetic", dir.path(), Split::kTrain);
  const DatasetPtr test = open_dataset("synthetic", dir.path(), Split::kTest);
  LinearModel model;
  std::vector<uint8_t> picture(kPixels);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    for (const uint32_t i : keyed_permutation(train->size(), {.epoch = epoch})) {
      train->read(i, picture);
      model.step(picture, static_cast<size_t>(train->label(i)), 1e-4f);
    }
  }
  CHECK(accuracy(model, *train) > 0.12);  // it did learn something of the pictures it saw
  CHECK(accuracy(model, *test) < 0.60);
}

TEST_CASE("synthetic: written in CIFAR-10's format, marked, balanced, and the same on every machine", "[data]") {
  const testing::TemporaryDir dir;
  const fs::path folder = write_synthetic(dir.path(), {.train = 50, .test = 20, .seed = 1});
  CHECK(fs::file_size(folder / "data_batch_3.bin") == 10 * 3073);
  CHECK(fs::exists(folder / kSyntheticMarker));
  const DatasetPtr train = open_dataset("synthetic", dir.path(), Split::kTrain);
  const DatasetPtr test = open_dataset("synthetic", dir.path(), Split::kTest);
  CHECK(train->name() == "synthetic");
  CHECK(train->size() == 50);
  CHECK(test->size() == 20);
  CHECK(train->classes()[3] == "striped square");
  std::vector<int> count(10, 0);
  for (int64_t i = 0; i < train->size(); ++i) ++count[static_cast<size_t>(train->label(i))];
  CHECK(count == std::vector<int>(10, 5));
  CHECK_THROWS_AS(open_dataset("cifar10", folder, Split::kTrain), DataError);

  CHECK(digest(*train) == kPinned);
  CHECK(digest(*train) != digest(*limit(open_dataset("synthetic", folder, Split::kTest), 50)));
  write_synthetic(dir.path(), {.train = 50, .test = 20, .seed = 2});
  CHECK(digest(*open_dataset("synthetic", dir.path(), Split::kTrain)) != kPinned);
}

TEST_CASE("synthetic: the splits and the pictures differ", "[data]") {
  std::vector<uint8_t> a(kPixels), b(kPixels), c(kPixels);
  draw_synthetic(1, Split::kTrain, 0, a);
  draw_synthetic(1, Split::kTest, 0, b);
  draw_synthetic(1, Split::kTrain, 10, c);
  CHECK(a != b);
  CHECK(a != c);
}

TEST_CASE("synthetic: counts out of range and other people's pictures are refused", "[data]") {
  const testing::TemporaryDir dir;
  CHECK_THROWS_AS(write_synthetic(dir.path(), {.train = 12}), ConfigError);
  CHECK_THROWS_AS(write_synthetic(dir.path(), {.train = 0}), ConfigError);
  CHECK_THROWS_AS(write_synthetic(dir.path(), {.test = 0}), ConfigError);
  fs::create_directory(dir.path() / "synthetic");
  testing::write_bytes(dir.path() / "synthetic" / "test_batch.bin", "photographs");
  CHECK_THROWS_AS(write_synthetic(dir.path(), {.train = 5, .test = 1}), DataError);
  CHECK(fs::file_size(dir.path() / "synthetic" / "test_batch.bin") == 11);

  testing::write_bytes(dir.path() / "file", "");
  CHECK_THROWS_AS(write_synthetic(dir.path() / "file", {.train = 5, .test = 1}), Error);
}

}  // namespace tern::data
