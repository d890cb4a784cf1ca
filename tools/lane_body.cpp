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

/// A body of the numbers of reports and the bytes of a gradient.
std::shared_ptr<std::vector<std::byte>> join(std::span<const NodeReport> reports, dist::Bytes gradient) {
  auto body = std::make_shared<std::vector<std::byte>>();
  for (const NodeReport& report : reports) {
    const dist::Bytes numbers = std::as_bytes(std::span(report.numbers));
    body->insert(body->end(), numbers.begin(), numbers.end());
  }
  body->insert(body->end(), gradient.begin(), gradient.end());
  return body;
}

void to_half(std::span<const float> values, std::byte* to) {
  for (size_t i = 0; i < values.size(); ++i) {
    const Half half(values[i]);
    std::memcpy(to + i * sizeof half, &half, sizeof half);
  }
}

/// Entry i of a gradient's.
dist::SparseEntry entry_at(dist::Bytes gradient, size_t i) {
  dist::SparseEntry entry;
  std::memcpy(&entry, gradient.data() + i * sizeof entry, sizeof entry);
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

BodyWriter::BodyWriter(const BodyLayout& layout, dist::LaneRange range, int64_t steps, int64_t pictures)
    : layout_(layout), body_(std::make_shared<std::vector<std::byte>>(layout.bytes(range, steps, pictures))), written_(layout.parameters) {}

size_t BodyWriter::write(std::span<const float> gradient, int64_t first) {
  const size_t begin = body_->size() - layout_.gradient_bytes(), size = layout_.wire == dist::Wire::f16 ? sizeof(Half) : sizeof(float);
  const auto more = gradient.subspan(static_cast<size_t>(first), static_cast<size_t>(written_ - first));
  std::byte* to = body_->data() + begin + static_cast<size_t>(first) * size;
  if (layout_.wire == dist::Wire::f16)
    to_half(more, to);
  else
    std::memcpy(to, more.data(), more.size_bytes());
  written_ = first;
  return begin + static_cast<size_t>(first) * size;
}

std::shared_ptr<std::vector<std::byte>> BodyWriter::finish(std::span<const float> gradient, std::span<const NodeReport> reports) {
  write(gradient, 0);
  size_t at = 0;
  for (const NodeReport& report : reports) {
    std::memcpy(body_->data() + at, report.numbers.data(), report.numbers.size() * sizeof(float));
    at += report.numbers.size() * sizeof(float);
  }
  return body_;
}

std::shared_ptr<std::vector<std::byte>> encode_body(const BodyLayout& layout, std::span<const float> gradient,
                                                    std::span<const NodeReport> reports) {
  if (layout.wire != dist::Wire::f16) return join(reports, std::as_bytes(gradient));
  std::vector<std::byte> halves(gradient.size() * sizeof(Half));
  to_half(gradient, halves.data());
  return join(reports, halves);
}

std::shared_ptr<std::vector<std::byte>> encode_body(std::span<const dist::SparseEntry> gradient, std::span<const NodeReport> reports) {
  return join(reports, std::as_bytes(gradient));
}

bool well_formed(const BodyLayout& layout, dist::Bytes body) {
  if (layout.wire != dist::Wire::topk) return true;
  const dist::Bytes gradient = body.last(layout.gradient_bytes());
  int64_t before = -1;
  for (int64_t i = 0; i < layout.top_k; ++i) {
    const int64_t index = entry_at(gradient, static_cast<size_t>(i)).index;
    if (index <= before || index >= layout.parameters) return false;
    before = index;
  }
  return true;
}

std::vector<NodeReport> decode_reports(const BodyLayout& layout, dist::Bytes body, dist::LaneRange range, int64_t steps, int64_t pictures) {
  const uint64_t wanted = layout.bytes(range, steps, pictures) - layout.gradient_bytes();
  if (body.size() != wanted) throw DataError("a result of " + std::to_string(body.size()) + " bytes without its gradient, wanted " + std::to_string(wanted));
  std::vector<NodeReport> reports;
  size_t at = 0;
  for_reports(layout, range, steps, pictures, [&](int first, dist::LaneRange lanes, int64_t here) {
    NodeReport report{first, lanes.count, {}};
    report.numbers.resize(static_cast<size_t>(layout.numbers(lanes, here)));
    std::memcpy(report.numbers.data(), body.data() + at, report.numbers.size() * sizeof(float));
    at += report.numbers.size() * sizeof(float);
    reports.push_back(std::move(report));
  });
  return reports;
}

DecodedBody decode_body(const BodyLayout& layout, std::span<std::byte> body, dist::LaneRange range, int64_t steps, int64_t pictures) {
  if (body.size() != layout.bytes(range, steps, pictures))
    throw DataError("a result of " + std::to_string(body.size()) + " bytes, wanted " + std::to_string(layout.bytes(range, steps, pictures)));
  if (!well_formed(layout, body)) throw DataError("a result whose entries are not in order");
  DecodedBody decoded;
  const auto length = static_cast<size_t>(layout.parameters);
  const std::span<std::byte> gradient = body.last(layout.gradient_bytes());
  if (layout.wire == dist::Wire::topk) {
    decoded.converted.resize(length);
    for (size_t i = 0; i < static_cast<size_t>(layout.top_k); ++i) {
      const dist::SparseEntry entry = entry_at(gradient, i);
      decoded.converted[entry.index] = entry.value;
    }
    decoded.gradient = decoded.converted.data();
  } else if (layout.wire == dist::Wire::f16) {
    std::vector<Half> halves(length);
    std::memcpy(halves.data(), gradient.data(), length * sizeof(Half));
    decoded.converted.resize(length);
    std::ranges::transform(halves, decoded.converted.begin(), [](Half x) { return static_cast<float>(x); });
    decoded.gradient = decoded.converted.data();
  } else {
    decoded.gradient = reinterpret_cast<float*>(gradient.data());
  }
  decoded.reports = decode_reports(layout, body.first(body.size() - gradient.size()), range, steps, pictures);
  return decoded;
}

}  // namespace tern
