#include "tools/lane_body.h"

#include <algorithm>
#include <cstring>

#include "core/dtype.h"
#include "core/error.h"
#include "core/lanes.h"

namespace tern {
namespace {

int64_t pictures_of(const BodyLayout& layout, int64_t step, int64_t pictures) {
  const int64_t whole = int64_t{layout.micro_batch} * layout.lanes;
  return std::clamp<int64_t>(pictures - step * whole, 0, whole);
}

/// Calls f(first lane through all steps, lanes in their step, pictures of that step) for each report of a result.
template <class F>
void for_reports(const BodyLayout& layout, dist::LaneRange range, int64_t steps, int64_t pictures, const F& f) {
  if (steps == 1) return f(range.first, range, pictures);
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t here = pictures_of(layout, step, pictures);
    const int64_t present = Lanes{here, layout.micro_batch}.count();
    for (int lane = range.first; lane < std::min<int64_t>(range.end(), present); ++lane)
      f(static_cast<int>(step) * layout.lanes + lane, dist::LaneRange{lane, 1}, here);
  }
}

/// A body of the bytes of a gradient and the numbers of reports.
std::shared_ptr<std::vector<std::byte>> join(dist::Bytes gradient, std::span<const NodeReport> reports) {
  size_t size = gradient.size();
  for (const NodeReport& report : reports) size += report.numbers.size() * sizeof(float);
  auto body = std::make_shared<std::vector<std::byte>>();
  body->reserve(size);
  body->insert(body->end(), gradient.begin(), gradient.end());
  for (const NodeReport& report : reports) {
    const dist::Bytes numbers = std::as_bytes(std::span(report.numbers));
    body->insert(body->end(), numbers.begin(), numbers.end());
  }
  return body;
}

dist::SparseEntry entry_at(dist::Bytes body, size_t i) {
  dist::SparseEntry entry;
  std::memcpy(&entry, body.data() + i * sizeof entry, sizeof entry);
  return entry;
}

}  // namespace

BodyLayout BodyLayout::whole() const {
  BodyLayout layout = *this;
  layout.wire = dist::Wire::f32;
  return layout;
}

uint64_t BodyLayout::gradient_bytes() const {
  if (wire == dist::Wire::topk) return static_cast<uint64_t>(top_k) * sizeof(dist::SparseEntry);
  return static_cast<uint64_t>(parameters) * (wire == dist::Wire::f16 ? 2 : 4);
}

int64_t BodyLayout::numbers(dist::LaneRange range, int64_t pictures) const {
  const Lanes rows{pictures, micro_batch};
  return 2 * (rows.end(range.end() - 1) - rows.begin(range.first)) + 1 + range.count * statistics;
}

uint64_t BodyLayout::bytes(dist::LaneRange range, int64_t steps, int64_t pictures) const {
  int64_t all = 0;
  for_reports(*this, range, steps, pictures, [&](int, dist::LaneRange lanes, int64_t here) { all += numbers(lanes, here); });
  return gradient_bytes() + static_cast<uint64_t>(all) * sizeof(float);
}

std::shared_ptr<std::vector<std::byte>> encode_body(const BodyLayout& layout, std::span<const float> gradient,
                                                    std::span<const NodeReport> reports) {
  if (layout.wire != dist::Wire::f16) return join(std::as_bytes(gradient), reports);
  std::vector<Half> halves(gradient.size());
  std::ranges::transform(gradient, halves.begin(), [](float x) { return Half(x); });
  return join(std::as_bytes(std::span(halves)), reports);
}

std::shared_ptr<std::vector<std::byte>> encode_body(std::span<const dist::SparseEntry> gradient, std::span<const NodeReport> reports) {
  return join(std::as_bytes(gradient), reports);
}

bool well_formed(const BodyLayout& layout, dist::Bytes body) {
  if (layout.wire != dist::Wire::topk) return true;
  int64_t before = -1;
  for (int64_t i = 0; i < layout.top_k; ++i) {
    const int64_t index = entry_at(body, static_cast<size_t>(i)).index;
    if (index <= before || index >= layout.parameters) return false;
    before = index;
  }
  return true;
}

DecodedBody decode_body(const BodyLayout& layout, std::span<std::byte> body, dist::LaneRange range, int64_t steps, int64_t pictures) {
  if (body.size() != layout.bytes(range, steps, pictures))
    throw DataError("a result of " + std::to_string(body.size()) + " bytes, wanted " + std::to_string(layout.bytes(range, steps, pictures)));
  if (!well_formed(layout, body)) throw DataError("a result whose entries are not in order");
  DecodedBody decoded;
  const auto length = static_cast<size_t>(layout.parameters);
  if (layout.wire == dist::Wire::topk) {
    decoded.converted.resize(length);
    for (size_t i = 0; i < static_cast<size_t>(layout.top_k); ++i) {
      const dist::SparseEntry entry = entry_at(body, i);
      decoded.converted[entry.index] = entry.value;
    }
    decoded.gradient = decoded.converted.data();
  } else if (layout.wire == dist::Wire::f16) {
    std::vector<Half> halves(length);
    std::memcpy(halves.data(), body.data(), length * sizeof(Half));
    decoded.converted.resize(length);
    std::ranges::transform(halves, decoded.converted.begin(), [](Half x) { return static_cast<float>(x); });
    decoded.gradient = decoded.converted.data();
  } else {
    decoded.gradient = reinterpret_cast<float*>(body.data());
  }
  size_t at = layout.gradient_bytes();
  for_reports(layout, range, steps, pictures, [&](int first, dist::LaneRange lanes, int64_t here) {
    NodeReport report{first, lanes.count, {}};
    report.numbers.resize(static_cast<size_t>(layout.numbers(lanes, here)));
    std::memcpy(report.numbers.data(), body.data() + at, report.numbers.size() * sizeof(float));
    at += report.numbers.size() * sizeof(float);
    decoded.reports.push_back(std::move(report));
  });
  return decoded;
}

}  // namespace tern
