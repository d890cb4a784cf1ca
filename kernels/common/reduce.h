#pragma once
#include <array>
#include <cstddef>
#include <span>

#include "core/convert.h"
#include "core/lanes.h"
#include "core/op.h"
#include "core/rng.h"
#include "kernels/common/parallel.h"
#include "kernels/common/reduction_axes.h"

/// Reductions over any axes in one fixed order, whatever the number of threads.
///
/// The input is seen as rows: its innermost (merged) axis. When that axis is reduced, a row is cut into leaves of
/// kLeafElements, each reduced in kLeafLanes interleaved parts that are then folded in halves. When it is kept, a leaf
/// is kLeafRows rows reduced one after another, column by column. The leaves of an output are combined in the canonical
/// tree of core/lanes.h, so a sum of n terms has about log2(n) + 32 roundings in a row rather than n. Tasks take runs
/// of a power of two leaves: subtrees of the same tree.
namespace tern {

inline constexpr int64_t kLeafElements = 1024;
inline constexpr int64_t kLeafLanes = 32;
inline constexpr int64_t kLeafRows = 16;
inline constexpr int64_t kReduceStrip = 256;     // columns that a task works on, so that its partials stay in L1
inline constexpr int64_t kReduceTask = 1 << 16;  // elements of a task
inline constexpr int kMaxDepth = 20;             // of the open subtrees of one task: more than log2(kReduceTask)

/// A reduction of a dense tensor with its axes merged. Offsets are in elements.
struct ReduceLoop {
  bool inner_reduced = false;
  int64_t inner = 1;    ///< extent of the innermost axis
  int64_t outputs = 1;  ///< product of the outer kept axes
  int64_t rows = 1;     ///< product of the outer reduced axes
  struct Axes {
    int rank = 0;
    std::array<int64_t, Shape::kMaxRank> extents{}, strides{};  ///< innermost first
    TERN_HOST_DEVICE int64_t offset(int64_t index) const {
      int64_t result = 0;
      for (size_t d = 0; d + 1 < static_cast<size_t>(rank); ++d) {
        result += index % extents[d] * strides[d];
        index /= extents[d];
      }
      return rank == 0 ? 0 : result + index * strides[static_cast<size_t>(rank - 1)];
    }
  };
  Axes kept, reduced;  ///< without the innermost axis

  ReduceLoop(const Shape& shape, AxisMask mask);
  int64_t width() const { return inner_reduced ? 1 : inner; }  ///< outputs of a row
  int64_t leaves_per_row() const { return (inner + kLeafElements - 1) / kLeafElements; }
  int64_t leaves() const { return inner_reduced ? rows * leaves_per_row() : (rows + kLeafRows - 1) / kLeafRows; }
  int64_t strips() const { return (width() + kReduceStrip - 1) / kReduceStrip; }
  int64_t leaves_per_task() const;  ///< a power of two
  int64_t tasks_per_output() const { return (leaves() + leaves_per_task() - 1) / leaves_per_task(); }
};

/// A reduction with axis 0 cut into lanes (lane size 0, or axis 0 kept: one lane).
struct LaneReduction {
  Lanes lanes;
  ReduceLoop whole;  ///< every lane but the last
  ReduceLoop last;
  int64_t lane_elements;
  int64_t outputs;

  LaneReduction(const Shape& shape, AxisMask mask, int64_t lane_size);
  /// Partial results of an output: the tasks of each lane.
  int64_t partials() const { return lanes.count() * whole.tasks_per_output(); }
  /// Bytes of scratch when partials are of type A.
  template <class A>
  size_t workspace() const {
    return partials() == 1 ? 0 : static_cast<size_t>(partials() * outputs) * sizeof(A);
  }
};

namespace reduce_detail {

/// Combines `count` vectors in the canonical tree into the first one, as tree_sum does.
template <class P, class A>
void tree_combine(const P& policy, A* leaves, int64_t count, int64_t stride, int64_t length) {
  if (count <= 1) return;
  const int64_t split = tree_split(count);
  A* right = leaves + split * stride;
  tree_combine(policy, leaves, split, stride, length);
  tree_combine(policy, right, count - split, stride, length);
  for (int64_t i = 0; i < length; ++i) leaves[i] = policy.combine(leaves[i], right[i]);
}

template <class A, class P, class T>
A reduce_row_leaf(const P& policy, const T* x, int64_t count, int64_t output) {
  A lanes[kLeafLanes];
  for (A& lane : lanes) lane = policy.identity();
  int64_t i = 0;
  for (; i + kLeafLanes <= count; i += kLeafLanes)
    for (int64_t j = 0; j < kLeafLanes; ++j)
      lanes[j] = policy.combine(lanes[j], policy.map(static_cast<A>(x[i + j]), output));
  for (int64_t j = 0; j < count - i; ++j)
    lanes[j] = policy.combine(lanes[j], policy.map(static_cast<A>(x[i + j]), output));
  for (int64_t half = kLeafLanes / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half; ++j) lanes[j] = policy.combine(lanes[j], lanes[j + half]);
  return lanes[0];
}

/// Reduces leaf `leaf` of output row `o`, columns [column, column + width), into `to`.
template <class A, class P, class T>
void reduce_leaf(const P& policy, const ReduceLoop& loop, const T* x, int64_t o, int64_t leaf, int64_t column,
                 int64_t width, A* to) {
  if (loop.inner_reduced) {
    const int64_t per_row = loop.leaves_per_row();
    const int64_t row = per_row == 1 ? leaf : leaf / per_row;  // short rows feel a division
    const int64_t at = (leaf - row * per_row) * kLeafElements;
    *to = reduce_row_leaf<A>(policy, x + loop.reduced.offset(row) + at, std::min(kLeafElements, loop.inner - at), o);
    return;
  }
  for (int64_t j = 0; j < width; ++j) to[j] = policy.identity();
  const int64_t end = std::min(loop.rows, (leaf + 1) * kLeafRows);
  const int64_t output = o * loop.inner + column;
  for (int64_t row = leaf * kLeafRows; row < end; ++row) {
    const T* from = x + loop.reduced.offset(row) + column;
    for (int64_t j = 0; j < width; ++j) to[j] = policy.combine(to[j], policy.map(static_cast<A>(from[j]), output + j));
  }
}

/// Reduces leaves [begin, end) into `to`: the canonical tree, built from left to right with one open subtree a level.
template <class A, class P, class T>
void reduce_leaves(const P& policy, const ReduceLoop& loop, const T* x, int64_t o, int64_t begin, int64_t end,
                   int64_t column, int64_t width, A* to) {
  if (end - begin == 1) return reduce_leaf(policy, loop, x, o, begin, column, width, to);
  A open[kMaxDepth][kReduceStrip];
  int depth = 0;
  const auto merge = [&] {
    --depth;
    for (int64_t j = 0; j < width; ++j) open[depth - 1][j] = policy.combine(open[depth - 1][j], open[depth][j]);
  };
  for (int64_t leaf = begin; leaf < end; ++leaf) {
    reduce_leaf(policy, loop, x, o, leaf, column, width, open[depth++]);
    for (int64_t done = leaf - begin + 1; done % 2 == 0; done /= 2) merge();
  }
  while (depth > 1) merge();
  std::copy(open[0], open[0] + width, to);
}

/// One lane: every task's result goes to `partials` [tasks][outputs], or finished to `out` where that is null.
template <class A, class P, class T, class Out>
void reduce_lane(Context& context, const P& policy, const ReduceLoop& loop, const T* x, A* partials, Out* out) {
  const int64_t strips = loop.strips(), tasks = loop.tasks_per_output(), leaves = loop.leaves_per_task();
  const int64_t per_output = strips * tasks, total = loop.outputs * per_output;
  const int64_t elements = std::max<int64_t>(1, loop.outputs * loop.rows * loop.inner / total);
  for_chunks(
      context, total,
      [&](int64_t begin, int64_t end) {
        A result[kReduceStrip];
        for (int64_t i = begin; i < end; ++i) {
          const int64_t o = per_output == 1 ? i : i / per_output;
          const int64_t strip = (i - o * per_output) / tasks, task = (i - o * per_output) % tasks;
          const int64_t column = strip * kReduceStrip;
          const int64_t width = std::min(kReduceStrip, loop.width() - column);
          const int64_t output = o * loop.width() + column;
          reduce_leaves(policy, loop, x + loop.kept.offset(o), o, task * leaves,
                        std::min(loop.leaves(), (task + 1) * leaves), column, width, result);
          if (partials)
            std::copy(result, result + width, partials + task * loop.outputs * loop.width() + output);
          else
            for (int64_t j = 0; j < width; ++j) out[output + j] = static_cast<Out>(policy.finish(result[j]));
        }
      },
      std::max<int64_t>(1, kElementChunk / elements));
}

}  // namespace reduce_detail

/// out[o] = finish(combine of map(x_i, o)), o in the order of the kept axes. The policy works in A and has
/// identity(), map(A x, int64_t output), combine(A, A) and finish(A). `workspace`: plan.workspace<A>() bytes.
template <class A, class T, class Out, class P>
void reduce(Context& context, const LaneReduction& plan, const P& policy, const T* x, Out* out,
            std::span<std::byte> workspace) {
  const int64_t lanes = plan.lanes.count(), tasks = plan.whole.tasks_per_output();
  A* partials = plan.partials() == 1 ? nullptr : reinterpret_cast<A*>(workspace.data());
  for (int64_t lane = 0; lane < lanes; ++lane)
    reduce_detail::reduce_lane<A>(context, policy, lane + 1 < lanes ? plan.whole : plan.last,
                                  x + lane * plan.lane_elements,
                                  partials ? partials + lane * tasks * plan.outputs : nullptr, out);
  if (!partials) return;
  const int64_t chunk = std::max<int64_t>(16, kElementChunk / plan.partials());
  for_chunks(
      context, plan.outputs,
      [&](int64_t begin, int64_t end) {
        for (int64_t lane = 0; lane < lanes; ++lane)
          reduce_detail::tree_combine(policy, partials + lane * tasks * plan.outputs + begin,
                                      (lane + 1 < lanes ? plan.whole : plan.last).tasks_per_output(), plan.outputs,
                                      end - begin);
        reduce_detail::tree_combine(policy, partials + begin, lanes, tasks * plan.outputs, end - begin);
        for (int64_t i = begin; i < end; ++i) out[i] = static_cast<Out>(policy.finish(partials[i]));
      },
      chunk);
}

/// The policy of sums; `divisor` 1 or, for means, the number of elements.
template <class A>
struct SumPolicy {
  A divisor = 1;
  TERN_HOST_DEVICE A identity() const { return 0; }
  TERN_HOST_DEVICE A map(A x, int64_t) const { return x; }
  TERN_HOST_DEVICE A combine(A a, A b) const { return a + b; }
  TERN_HOST_DEVICE A finish(A sum) const { return sum / divisor; }
};

}  // namespace tern
