#pragma once
#include <array>
#include <cstdint>

#include "core/shape.h"

/// Which matrices of two batches meet in a batched product, for every kernel on every device.
namespace tern {

/// The leading axes: all but the last two.
inline Shape batch_of(const Shape& shape) { return Shape(shape.extents().first(static_cast<size_t>(shape.rank() - 2))); }

/// The broadcast of all leading axes, cut in two: those that the result keeps and those that are summed over. Extents
/// are 1 on the other's axes.
struct MatMulBatches {
  Shape kept, summed;

  /// The shapes of a and b; the batch axes of the result.
  MatMulBatches(const Shape& a, const Shape& b, const Shape& result) {
    const Shape batch_a = batch_of(a), batch_b = batch_of(b);
    kept = summed = broadcast(batch_a, batch_b, "matmul");
    strides_a_ = strides_of(batch_a, kept);
    strides_b_ = strides_of(batch_b, kept);
    for (int axis = 0; axis < kept.rank(); ++axis) {
      const int own = axis - kept.rank() + result.rank();
      const bool keeps = own >= 0 && result[own] == kept[axis];
      (keeps ? summed : kept) = (keeps ? summed : kept).with(axis, 1);
    }
  }

  /// The matrix of a (of b) in the `term`-th product that is summed into matrix `target` of the result.
  int64_t a_at(int64_t target, int64_t term) const { return at(target, kept, strides_a_) + at(term, summed, strides_a_); }
  int64_t b_at(int64_t target, int64_t term) const { return at(target, kept, strides_b_) + at(term, summed, strides_b_); }

 private:
  /// Matrices of an operand to skip along each axis of the broadcast batch, 0 where the operand is broadcast.
  using Strides = std::array<int64_t, Shape::kMaxRank>;

  static Strides strides_of(const Shape& batch, const Shape& full) {
    Strides strides{};
    int64_t stride = 1;
    for (int axis = batch.rank() - 1; axis >= 0; --axis) {
      strides[static_cast<size_t>(axis + full.rank() - batch.rank())] = batch[axis] == 1 ? 0 : stride;
      stride *= batch[axis];
    }
    return strides;
  }

  static int64_t at(int64_t index, const Shape& extents, const Strides& strides) {
    int64_t matrix = 0;
    for (int axis = extents.rank() - 1; axis >= 0; --axis) {
      matrix += index % extents[axis] * strides[static_cast<size_t>(axis)];
      index /= extents[axis];
    }
    return matrix;
  }

  Strides strides_a_{}, strides_b_{};
};

}  // namespace tern
