#include "kernels/permute/permute.h"

#include <algorithm>
#include <vector>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op.h"
#include "kernels/common/blocks.h"
#include "kernels/common/check.h"
#include "kernels/permute/plan.h"

namespace tern {
namespace cuda {
void permute(Launch& launch, const PermutePlan& plan);  // permute.cu
}
namespace {

/// to[i * columns + j] = from[i + j * from_stride] in blocks that fit the cache: the part that permutes the last axis.
template <class T>
void transpose_block(const T* from, int64_t from_stride, T* to, int64_t rows, int64_t row_stride, int64_t columns) {
  constexpr int64_t kBlock = 16;
  for (int64_t j = 0; j < columns; j += kBlock) {
    const int64_t width = std::min(kBlock, columns - j);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < width; ++q) to[i * columns + j + q] = from[i * row_stride + (j + q) * from_stride];
  }
}

template <class T>
void permute_elements(Context& context, const PermutePlan& plan, const T* from, T* to) {
  const auto rank = static_cast<size_t>(plan.rank);
  if (rank == 0) return void(*to = *from);
  // y as rows of its last axis, taken `group` rows of its last but one axis at a time.
  const int64_t columns = plan.extents[rank - 1], column_stride = plan.strides[rank - 1];
  const int64_t rows = rank > 1 ? plan.extents[rank - 2] : 1, row_stride = rank > 1 ? plan.strides[rank - 2] : 0;
  constexpr int64_t kGroup = 64;
  const int64_t groups = (rows + kGroup - 1) / kGroup;
  int64_t outer = 1;
  for (size_t axis = 0; axis + 2 < rank; ++axis) outer *= plan.extents[axis];
  move_rows(context, outer * groups, std::min(rows, kGroup) * columns * static_cast<int64_t>(sizeof(T)), [&](int64_t task) {
    const int64_t first = task % groups * kGroup;
    int64_t index = task / groups, source = first * row_stride;
    T* target = to + (index * rows + first) * columns;
    for (size_t axis = rank < 2 ? 0 : rank - 2; axis-- > 0;) {
      source += index % plan.extents[axis] * plan.strides[axis];
      index /= plan.extents[axis];
    }
    const int64_t count = std::min(kGroup, rows - first);
    if (column_stride == 1)
      for (int64_t i = 0; i < count; ++i) std::copy_n(from + source + i * row_stride, columns, target + i * columns);
    else
      transpose_block(from + source, column_stride, target, count, row_stride, columns);
  });
}

class Permute final : public OpBase<Permute> {
 public:
  explicit Permute(std::span<const int> axes) : axes_(axes.begin(), axes.end()) {}
  std::string_view name() const override { return "permute"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    std::vector<int64_t> extents;
    for (int axis : axes_) extents.push_back(in[0].shape[axis]);
    return {{in[0].dtype, Shape(extents)}};
  }
  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node&, std::span<const Tensor> dy) const override {
    std::vector<int> inverse(axes_.size());
    for (size_t i = 0; i < axes_.size(); ++i) inverse[static_cast<size_t>(axes_[i])] = static_cast<int>(i);
    return {permute(dy[0], inverse)};
  }

  void run_cuda(Launch& l) const { cuda::permute(l, plan_permute(l.in[0].shape(), axes_)); }

  void run_cpu(Launch& l) const {
    const PermutePlan plan = plan_permute(l.in[0].shape(), axes_);
    const auto move = [&](auto element) {
      using T = decltype(element);
      permute_elements(l.context, plan, static_cast<const T*>(l.in[0].raw()), static_cast<T*>(l.out[0].raw()));
    };
    switch (size_of(l.in[0].dtype())) {
      case 1: return move(uint8_t{});
      case 2: return move(uint16_t{});
      case 4: return move(uint32_t{});
      default: return move(uint64_t{});
    }
  }

 private:
  std::vector<int> axes_;
};

}  // namespace

Tensor permute(const Tensor& x, std::span<const int> axes) {
  std::vector<int> normal;
  for (int axis : axes) {
    normal.push_back(x.shape().normalize_axis(axis));
    if (std::count(normal.begin(), normal.end(), normal.back()) > 1)
      throw_shape("permute", "axis " + std::to_string(axis) + " is named twice");
  }
  if (static_cast<int>(normal.size()) != x.rank())
    throw_shape("permute", "got " + std::to_string(normal.size()) + " axes for " + x.spec().str());
  return apply_one(std::make_shared<Permute>(normal), {x});
}

Tensor permute(const Tensor& x, std::initializer_list<int> axes) { return permute(x, std::span(axes.begin(), axes.size())); }

}  // namespace tern
