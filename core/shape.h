#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/dtype.h"

namespace tern {

/// The extents of a dense, row-major tensor: at most 8 axes, each 0 or more. A scalar has rank 0 and one element.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  /// Throws ShapeError for a negative extent, more than kMaxRank axes, or an element count over 2^62.
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t numel() const;
  /// Extent of an axis; negative axes count from the end. Throws ShapeError when out of range.
  int64_t operator[](int axis) const { return extents_[static_cast<size_t>(normalize_axis(axis))]; }
  /// The axis as 0..rank-1. Throws ShapeError when out of range.
  int normalize_axis(int axis) const;
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }
  auto begin() const { return extents().begin(); }
  auto end() const { return extents().end(); }
  /// The shape with one axis replaced / removed.
  Shape with(int axis, int64_t extent) const;
  Shape without(int axis) const;

  bool operator==(const Shape& other) const;
  std::string str() const;  ///< "[2, 3, 4]"

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

/// NumPy's broadcasting of two shapes. Throws ShapeError naming `op`.
Shape broadcast(const Shape& a, const Shape& b, const char* op);

/// What an op knows of a tensor before it runs.
struct Spec {
  DType dtype = DType::f32;
  Shape shape;

  int64_t numel() const { return shape.numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype); }
  bool operator==(const Spec&) const = default;
  std::string str() const;  ///< "f32[2, 3]"
};

}  // namespace tern
