// The largest entries of gradients, what lanes hold back of the rest, and the bodies that carry them.
#include "dist/residuals.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "tests/catch.h"
#include "tests/dist_sim/draw.h"
#include "tools/lane_body.h"

namespace tern::dist {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// By sorting, as the definition says.
std::vector<SparseEntry> naive_largest(const std::vector<float>& values, size_t count) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto rank = [&](uint32_t i) { return std::isnan(values[i]) ? std::numeric_limits<double>::infinity() : std::isinf(values[i]) ? 1e300 : std::abs(double{values[i]}); };
  std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return rank(a) > rank(b); });
  order.resize(std::min(count, order.size()));
  std::ranges::sort(order);
  std::vector<SparseEntry> entries;
  for (const uint32_t i : order) entries.push_back({i, values[i]});
  return entries;
}

std::vector<float> dense(const std::vector<SparseEntry>& entries, size_t length) {
  std::vector<float> values(length);
  for (const SparseEntry& entry : entries) values[entry.index] = entry.value;
  return values;
}

}  // namespace

TEST_CASE("the largest entries: as by sorting, the lower index first among equals", "[dist]") {
  CHECK(largest_entries(std::vector<float>{1, -3, 3, 2, -3}, 2) == std::vector<SparseEntry>{{1, -3}, {2, 3}});
  CHECK(largest_entries(std::vector<float>(5), 2) == std::vector<SparseEntry>{{0, 0}, {1, 0}});
  CHECK(largest_entries(std::vector<float>{1, 2}, 7).size() == 2);
  CHECK(largest_entries({}, 3).empty());
  sim::Draw draw(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> values(static_cast<size_t>(draw.between(1, 300)));
    const bool coarse = draw.chance(0.5);  // many ties
    for (float& value : values) value = coarse ? static_cast<float>(draw.between(-4, 4)) : std::ldexp(static_cast<float>(draw.between(-1000, 1000)), static_cast<int>(draw.between(-60, 60)));
    const auto count = static_cast<size_t>(draw.between(1, static_cast<int64_t>(values.size())));
    CHECK(largest_entries(values, count) == naive_largest(values, count));
  }
}

TEST_CASE("what is not finite is always among the largest entries", "[dist]") {
  std::vector<float> values(1000, std::numeric_limits<float>::max());
  values[777] = -kInfinity;
  CHECK(largest_entries(values, 1)[0].index == 777);
  values[900] = std::nanf("");
  CHECK(largest_entries(values, 1)[0].index == 900);
}

TEST_CASE("nothing of a gradient is lost: what was sent and what is held back are its sum", "[dist]") {
  constexpr size_t kLength = 64;
  sim::Draw draw(2);
  Residuals residuals;
  std::vector<float> given(kLength), sent(kLength);
  for (uint64_t step = 0; step < 20; ++step) {
    std::vector<float> gradient(kLength);
    for (float& value : gradient) value = static_cast<float>(draw.between(-1000, 1000));  // sums are exact
    const LaneStep at{1, step, 3, step > 0};
    const bool last = step == 19;
    const std::vector<float> here = last ? residuals.send_all(at, gradient) : dense(residuals.send_largest(at, gradient, 5), kLength);
    if (!last) CHECK(std::ranges::count(here, 0.0f) >= static_cast<ptrdiff_t>(kLength - 5));
    for (size_t i = 0; i < kLength; ++i) {
      given[i] += gradient[i];
      sent[i] += here[i];
    }
  }
  CHECK(sent == given);
}

TEST_CASE("a step that is computed again sends the same, lanes do not mix, and only the step before is due", "[dist]") {
  const std::vector<float> gradient{4, 3, 2, 1};
  Residuals residuals;
  residuals.send_largest({1, 0, 0, false}, gradient, 1);
  residuals.send_largest({1, 0, 1, false}, std::vector<float>{0, 0, 0, 8}, 1);
  const auto first = residuals.send_largest({1, 1, 0, true}, gradient, 1);
  CHECK(first == std::vector<SparseEntry>{{1, 6}});
  CHECK(residuals.send_largest({1, 1, 0, true}, gradient, 1) == first);
  CHECK(residuals.send_largest({1, 1, 1, true}, gradient, 1) == std::vector<SparseEntry>{{0, 4}});
  CHECK(residuals.send_largest({1, 1, 0, false}, gradient, 1) == std::vector<SparseEntry>{{0, 4}});  // its result was another's
  CHECK(residuals.send_all({1, 2, 1, true}, gradient) == std::vector<float>{4, 6, 4, 2});
  CHECK(residuals.size() == 2);  // those of step 1
  CHECK_THROWS_WITH(residuals.send_largest({1, 3, 1, true}, gradient, 1), HasText("lane 1: what was held back"));
  CHECK_THROWS_WITH(residuals.send_largest({2, 2, 1, true}, gradient, 1), HasText("not here"));  // another incarnation
}

TEST_CASE("a loss scale that changes does not change what is held back; a gradient that is not finite leaves it", "[dist]") {
  Residuals residuals;
  residuals.send_largest({1, 0, 0, false, 1024}, std::vector<float>{4096, 1024}, 1);
  CHECK(residuals.send_largest({1, 1, 0, true, 512}, std::vector<float>{kInfinity, 0}, 1)[0].value == kInfinity);
  CHECK(residuals.send_all({1, 2, 0, true, 2}, std::vector<float>{0, 0}) == std::vector<float>{0, 2});
}

TEST_CASE("bodies of the largest entries come back as gradients, and bad ones are refused", "[dist]") {
  const BodyLayout layout{.parameters = 6, .statistics = 1, .micro_batch = 2, .lanes = 2, .wire = Wire::topk, .top_k = 2};
  const NodeReport report{1, 1, {0.5f, 0.25f, 1, 0, 0, 7}};
  const auto body = encode_body(std::vector<SparseEntry>{{1, -2}, {5, 3}}, std::span(&report, 1));
  CHECK(body->size() == layout.bytes({1, 1}, 1, 4));
  CHECK(well_formed(layout, *body));
  const DecodedBody decoded = decode_body(layout, *body, {1, 1}, 1, 4);
  CHECK(std::vector<float>(decoded.gradient, decoded.gradient + 6) == std::vector<float>{0, -2, 0, 0, 0, 3});
  CHECK(decoded.reports.at(0).numbers == report.numbers);
  for (const std::vector<SparseEntry>& bad : {std::vector<SparseEntry>{{1, 1}, {1, 1}}, {{2, 1}, {1, 1}}, {{0, 1}, {6, 1}}, {{0, 1}, {0xffffffff, 1}}}) {
    const auto refused = encode_body(bad, std::span(&report, 1));
    CHECK_FALSE(well_formed(layout, *refused));
    CHECK_THROWS_AS(decode_body(layout, *refused, {1, 1}, 1, 4), DataError);
  }
  CHECK(layout.whole().bytes({1, 1}, 1, 4) == layout.bytes({1, 1}, 1, 4) + 6 * 4 - 2 * 8);
}

}  // namespace tern::dist
