// The sum over ranks is the canonical tree's, to the bit, for any number of ranks and lanes.
#include "dist/reduce_lanes.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "core/lanes.h"
#include "tests/catch.h"
#include "tests/thread_group.h"

using namespace tern;

namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// Lanes' gradients of very different sizes, so that another order of additions gives other bits.
std::vector<float> lane_values(int lane, int64_t length) {
  std::mt19937 numbers(static_cast<unsigned>(lane));
  std::vector<float> values(static_cast<size_t>(length));
  for (float& value : values) value = std::ldexp(static_cast<float>(numbers()) - 2e9f, static_cast<int>(numbers() % 24));
  return values;
}

std::vector<float> tree_of(dist::LaneRange node, int64_t length) {
  std::vector<float> leaves;
  for (int lane = node.first; lane < node.end(); ++lane) {
    const std::vector<float> values = lane_values(lane, length);
    leaves.insert(leaves.end(), values.begin(), values.end());
  }
  tree_sum(leaves.data(), node.count, length, length);
  leaves.resize(static_cast<size_t>(length));
  return leaves;
}

}  // namespace

TEST_CASE("LaneReducer: bit-equal to tree_sum for 1 to 8 ranks and 1 to 13 lanes", "[dist]") {
  for (const int64_t length : {int64_t{5}, int64_t{1000}}) {
    for (int lanes = 1; lanes <= 13; ++lanes) {
      const std::vector<float> wanted = tree_of({0, lanes}, length);
      for (int ranks = 1; ranks <= 8; ++ranks) {
        // As in a training: 13 lanes are shared out, and the step has fewer where it is ragged.
        std::vector<dist::LaneRange> shares = dist::share_lanes(13, ranks);
        for (dist::LaneRange& share : shares) share.count = std::clamp(lanes - share.first, 0, share.count);
        std::vector<std::vector<float>> sums(static_cast<size_t>(ranks));
        test::Mail mail;
        test::run_ranks(mail, ranks, [&](dist::Group& group) {
          Context context({.threads = 1});
          dist::LaneReducer reducer(group, context, length);
          for (int round = 0; round < 2; ++round) {  // buffers are used again
            std::vector<Tensor> mine;
            for (const dist::LaneRange node : dist::canonical_nodes(lanes, shares[static_cast<size_t>(group.rank())]))
              mine.push_back(Tensor::from(context, {length}, tree_of(node, length)));
            const Tensor sum = Tensor::full(context, {length}, -1);
            reducer.reduce(lanes, shares, mine, sum);
            sums[static_cast<size_t>(group.rank())] = sum.to_vector<float>();
          }
        });
        INFO(lanes << " lanes, " << ranks << " ranks, " << length << " floats");
        for (const std::vector<float>& sum : sums) CHECK((sum == wanted));
      }
    }
  }
}

TEST_CASE("LaneReducer: with a node a rank, the bytes of a ring all-reduce", "[dist]") {
  constexpr int64_t kLength = 4096;
  for (const int ranks : {2, 4, 8}) {
    test::Mail mail;
    test::run_ranks(mail, ranks, [&](dist::Group& group) {
      Context context({.threads = 1});
      dist::LaneReducer reducer(group, context, kLength);
      const std::vector<dist::LaneRange> shares = dist::share_lanes(8, ranks);
      const Tensor mine = Tensor::from(context, {kLength}, tree_of(shares[static_cast<size_t>(group.rank())], kLength));
      reducer.reduce(8, shares, std::vector{mine}, Tensor::zeros(context, {kLength}));
    });
    CHECK(mail.bytes == static_cast<size_t>(2 * (ranks - 1) * kLength) * sizeof(float));
  }
}

TEST_CASE("Group: all_gather of texts of any length, broadcast, barrier", "[dist]") {
  for (const int ranks : {1, 2, 5}) {
    test::Mail mail;
    std::vector<int> good(static_cast<size_t>(ranks));
    test::run_ranks(mail, ranks, [&](dist::Group& group) {
      bool same = true;
      const auto all = dist::all_gather(group, bytes_of(std::string(static_cast<size_t>(group.rank()) * 3, 'x')));
      for (int rank = 0; rank < ranks; ++rank)
        same = same && all[static_cast<size_t>(rank)] == bytes_of(std::string(static_cast<size_t>(rank) * 3, 'x'));
      same = same && dist::broadcast(group, bytes_of("from " + std::to_string(group.rank()))) == bytes_of("from 0");
      dist::barrier(group);
      const std::vector<int> ids = dist::all_gather_values(group, 10 * group.rank());
      for (int rank = 0; rank < ranks; ++rank) same = same && ids[static_cast<size_t>(rank)] == 10 * rank;
      good[static_cast<size_t>(group.rank())] = same;
    });
    for (const int one : good) CHECK(one);
  }
}

TEST_CASE("tree_additions: refuses nodes that are no cut of the tree", "[dist]") {
  using dist::LaneRange;
  CHECK(dist::tree_additions(4, std::vector<LaneRange>{{0, 2}, {2, 2}}).size() == 1);
  CHECK_THROWS_AS(dist::tree_additions(4, std::vector<LaneRange>{{0, 1}, {1, 3}}), ShapeError);
  CHECK_THROWS_AS(dist::tree_additions(4, std::vector<LaneRange>{{0, 2}}), ShapeError);
  CHECK_THROWS_AS(dist::tree_additions(2, std::vector<LaneRange>{{0, 2}, {2, 2}}), ShapeError);
}
