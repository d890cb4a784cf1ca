#include "dist/residuals.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <string>

#include "core/error.h"

namespace tern::dist {
namespace {

/// Grows with the magnitude; of NaN more than of infinity.
uint32_t magnitude(float value) { return std::bit_cast<uint32_t>(value) & 0x7fffffff; }

/// The magnitude of which all larger ones and `ties` equal ones make `count`.
struct Threshold {
  uint32_t magnitude = 0;
  size_t ties = 0;
};

/// Counting the upper halves of all magnitudes leaves few to be sorted.
Threshold find_threshold(std::span<const float> values, size_t count) {
  std::vector<size_t> numbers(1 << 15);
  for (const float value : values) ++numbers[magnitude(value) >> 16];
  size_t bin = numbers.size(), larger = 0;
  while (larger + numbers[--bin] < count) larger += numbers[bin];
  std::vector<uint32_t> candidates;
  for (const float value : values)
    if (magnitude(value) >> 16 == bin) candidates.push_back(magnitude(value));
  const auto nth = candidates.begin() + static_cast<ptrdiff_t>(count - larger - 1);
  std::ranges::nth_element(candidates, nth, std::greater<>());
  const uint32_t found = *nth;
  const auto above = static_cast<size_t>(std::ranges::count_if(candidates, [&](uint32_t m) { return m > found; }));
  return {found, count - larger - above};
}

}  // namespace

std::vector<SparseEntry> largest_entries(std::span<const float> values, size_t count) {
  std::vector<SparseEntry> entries;
  count = std::min(count, values.size());
  if (count == 0) return entries;
  entries.reserve(count);
  Threshold threshold = find_threshold(values, count);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t here = magnitude(values[i]);
    if (here > threshold.magnitude || (here == threshold.magnitude && threshold.ties > 0 && threshold.ties-- > 0))
      entries.push_back({static_cast<uint32_t>(i), values[i]});
  }
  return entries;
}

std::vector<SparseEntry> Residuals::send_largest(const LaneStep& at, std::span<const float> gradient, size_t count) {
  forget_before(at);
  std::vector<float> before = due(at, gradient.size());
  std::vector<float> sum(gradient.begin(), gradient.end());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += before[i] * at.loss_scale;
  std::vector<SparseEntry> entries = largest_entries(sum, count);
  if (std::ranges::all_of(sum, [](float x) { return std::isfinite(x); })) {
    for (const SparseEntry& entry : entries) sum[entry.index] = 0;
    for (size_t i = 0; i < sum.size(); ++i) before[i] = sum[i] / at.loss_scale;
  }
  held_[{at.step, at.lane}] = std::move(before);
  return entries;
}

std::vector<float> Residuals::send_all(const LaneStep& at, std::span<const float> gradient) {
  forget_before(at);
  std::vector<float> sum = due(at, gradient.size());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = gradient[i] + sum[i] * at.loss_scale;
  return sum;
}

void Residuals::forget_before(const LaneStep& at) {
  if (std::exchange(run_epoch_, at.run_epoch) != at.run_epoch) held_.clear();
  std::erase_if(held_, [&](const auto& entry) { return entry.first.first + 1 < at.step; });
}

/// What was held back of the step before; zeros where nothing is due.
std::vector<float> Residuals::due(const LaneStep& at, size_t length) const {
  if (!at.carried) return std::vector<float>(length);
  const auto found = at.step == 0 ? held_.end() : held_.find({at.step - 1, at.lane});
  if (found == held_.end() || found->second.size() != length)
    throw Error("step " + std::to_string(at.step) + ", lane " + std::to_string(at.lane) + ": what was held back of the step before is not here");
  return found->second;
}

}  // namespace tern::dist
