#include "tools/lane_sum.h"

#include "core/context.h"
#include "core/lanes.h"
#include "core/rng.h"
#include "tests/catch.h"

using namespace tern;

TEST_CASE("LaneSum adds lanes as they come to the bits of the canonical tree, for any number of them", "[lanes]") {
  constexpr int64_t kLength = 37;
  Context context({.threads = 1});
  const Tensor result = Tensor::zeros(context, {kLength});
  LaneSum sum(result);
  for (int64_t lanes = 1; lanes <= 9; ++lanes) {
    std::vector<float> leaves(static_cast<size_t>(lanes * kLength));
    for (size_t i = 0; i < leaves.size(); ++i)
      leaves[i] = uniform01(random4({1, static_cast<uint64_t>(lanes), i, 0}).v[0]) - 0.4F;
    sum.begin();
    for (int64_t lane = 0; lane < lanes; ++lane)
      sum.add(Tensor::from<float>(context, {kLength},
                                  std::span(leaves).subspan(static_cast<size_t>(lane * kLength), kLength)));
    sum.finish();
    tree_sum(leaves.data(), lanes, kLength, kLength);
    leaves.resize(kLength);
    INFO(lanes << " lanes");
    CHECK(result.to_vector<float>() == leaves);
  }
}
