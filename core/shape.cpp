#include "core/shape.h"

#include <algorithm>

#include "core/error.h"

namespace tern {
namespace {
constexpr int64_t kMaxElements = int64_t{1} << 62;
}

Shape::Shape(std::span<const int64_t> extents) {
  if (extents.size() > kMaxRank)
    throw ShapeError("[shape] at most 8 axes, got " + std::to_string(extents.size()));
  rank_ = static_cast<int>(extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
  int64_t product = 1;
  for (int64_t extent : extents) {
    if (extent < 0) throw ShapeError("[shape] negative extent in " + str());
    if (extent > 0 && product > kMaxElements / extent) throw ShapeError("[shape] too many elements: " + str());
    product *= std::max<int64_t>(extent, 1);
  }
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int64_t extent : extents()) product *= extent;
  return product;
}

int Shape::normalize_axis(int axis) const {
  const int positive = axis < 0 ? axis + rank_ : axis;
  if (positive < 0 || positive >= rank_)
    throw ShapeError("[shape] axis " + std::to_string(axis) + " is not in " + str());
  return positive;
}

Shape Shape::with(int axis, int64_t extent) const {
  auto copy = extents_;
  copy[static_cast<size_t>(normalize_axis(axis))] = extent;
  return Shape(std::span<const int64_t>(copy.data(), static_cast<size_t>(rank_)));
}

Shape Shape::without(int axis) const {
  const int removed = normalize_axis(axis);
  Shape result;
  for (int i = 0; i < rank_; ++i)
    if (i != removed) result.extents_[static_cast<size_t>(result.rank_++)] = extents_[static_cast<size_t>(i)];
  return result;
}

bool Shape::operator==(const Shape& other) const { return std::ranges::equal(extents(), other.extents()); }

std::string Shape::str() const {
  std::string text = "[";
  for (int64_t extent : extents()) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

Shape broadcast(const Shape& a, const Shape& b, const char* op) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<int64_t, Shape::kMaxRank> extents{};
  for (int i = 1; i <= rank; ++i) {
    const int64_t ea = i <= a.rank() ? a[-i] : 1;
    const int64_t eb = i <= b.rank() ? b[-i] : 1;
    if (ea != eb && ea != 1 && eb != 1)
      throw ShapeError("[" + std::string(op) + "] shapes " + a.str() + " and " + b.str() + " do not broadcast");
    extents[static_cast<size_t>(rank - i)] = ea == 1 ? eb : ea;
  }
  return Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(rank)));
}

std::string Spec::str() const { return std::string(name_of(dtype)) + shape.str(); }

}  // namespace tern
