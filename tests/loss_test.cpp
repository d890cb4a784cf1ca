// Cross-entropy and top-k beyond the op table: extreme logits, bad labels, ties, lanes.
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "kernels/ops.h"
#include "tests/catch.h"

using namespace tern;

namespace {
Tensor labels_of(Context& context, const std::vector<int64_t>& values) {
  return Tensor::from<int64_t>(context, {static_cast<int64_t>(values.size())}, values);
}
}  // namespace

TEST_CASE("cross_entropy: logits of any size neither overflow nor lose the loss", "[loss]") {
  Context context({.threads = 1});
  const Tensor logits = Tensor::from<float>(context, {3, 2}, {1e30f, 0, 1000, 1000.5f, 0, -200});
  const Tensor loss = cross_entropy(logits, labels_of(context, {0, 0, 1}), {.reduction = LossReduction::none});
  CHECK(loss.data<float>()[0] == 0);
  CHECK(loss.data<float>()[1] == Approx(std::log(1 + std::exp(0.5))).epsilon(1e-6));
  CHECK(loss.data<float>()[2] == 200);
}

TEST_CASE("cross_entropy: a label that is no class names row and label", "[loss]") {
  Context context({.threads = 2});
  const Tensor logits = Tensor::full(context, {3, 10}, 0);
  CHECK_THROWS_AS(cross_entropy(logits, labels_of(context, {0, 9, 10})), DataError);
  CHECK_THROWS_WITH(cross_entropy(logits, labels_of(context, {0, 9, 10})), HasText("row 2 is 10"));
  CHECK_THROWS_WITH(cross_entropy(logits, labels_of(context, {0, -1, 3})), HasText("row 1 is -1"));
  CHECK_THROWS_AS(cross_entropy(logits, labels_of(context, {0, 1})), ShapeError);
  CHECK_THROWS_AS(cross_entropy(logits, labels_of(context, {0, 1, 2}), {.label_smoothing = 1.5}), ConfigError);
}

TEST_CASE("cross_entropy: the sum over a folded batch has the bits of its lanes' sums in the tree", "[loss]") {
  Context context({.threads = 2});
  std::vector<float> values;
  std::vector<int64_t> classes;
  for (int i = 0; i < 11 * 7; ++i) values.push_back(std::sin(static_cast<float>(i * i)));
  for (int i = 0; i < 11; ++i) classes.push_back(i % 7);
  const CrossEntropy options{.reduction = LossReduction::sum};
  std::vector<float> sums;
  for (int begin = 0; begin < 11; begin += 4) {
    const int count = std::min(4, 11 - begin);
    const std::vector<float> part(values.begin() + begin * 7, values.begin() + (begin + count) * 7);
    const std::vector<int64_t> part_labels(classes.begin() + begin, classes.begin() + begin + count);
    sums.push_back(
        *cross_entropy(Tensor::from<float>(context, {count, 7}, part), labels_of(context, part_labels), options)
             .data<float>());
  }
  context.set_lane_size(4);
  const Tensor folded =
      cross_entropy(Tensor::from<float>(context, {11, 7}, values), labels_of(context, classes), options);
  CHECK(*folded.data<float>() == (sums[0] + sums[1]) + sums[2]);
}

TEST_CASE("top_k_correct: ties go to the lower class, NaN is never right", "[loss]") {
  Context context({.threads = 1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor logits = Tensor::from<float>(context, {4, 3}, {1, 1, 0, 1, 1, 0, nan, 2, 1, nan, 2, 1});
  const Tensor labels = labels_of(context, {0, 1, 0, 1});
  CHECK(top_k_correct(logits, labels, 1).to_vector<uint8_t>() == std::vector<uint8_t>{1, 0, 0, 0});
  CHECK(top_k_correct(logits, labels, 2).to_vector<uint8_t>() == std::vector<uint8_t>{1, 1, 0, 1});
  CHECK(top_k_correct(logits, labels, 9).to_vector<uint8_t>() == std::vector<uint8_t>{1, 1, 0, 1});
  CHECK_THROWS_AS(top_k_correct(logits, labels, 0), ConfigError);
}
