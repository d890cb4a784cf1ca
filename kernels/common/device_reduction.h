#pragma once
#include "kernels/common/reduce.h"

namespace tern {

/// How a GPU cuts a LaneReduction into tasks. It depends on shapes alone, so the bits of a result do too.
///
/// Innermost axis reduced: a unit is `pack` neighbours of it, and a task `task_size` units of one output of one lane.
/// Innermost axis kept: a unit is `pack` neighbouring outputs, and a task `task_size` rows of them. `tasks` of a lane
/// leave a partial result each for every output: [lanes][tasks][outputs] in the workspace, combined by a second kernel.
struct DeviceReduction {
  ReduceLoop loop;  ///< of every lane; the last one has last_inner and last_rows instead
  int64_t lanes, lane_elements, outputs;
  int64_t last_inner, last_rows;
  int pack = 1;
  int64_t units;          ///< of a row
  int64_t tasks = 1;      ///< of a lane
  int64_t task_size = 1;  ///< in units or rows
  int team = 1;           ///< innermost reduced: threads that do a task; 32 at most, or a block
  int columns = 1;        ///< innermost kept: threads side by side in a block
  int rows_at_once = 1;   ///< innermost kept: threads one below the other

  static constexpr int kBlock = 256;
  static constexpr int64_t kWarpUnits = 1024;  ///< a task of a warp at most

  /// `pack`: elements that a thread loads at once where the extents allow.
  DeviceReduction(const LaneReduction& plan, int pack);
  int64_t partials() const { return lanes * tasks; }
  template <class A>
  size_t workspace() const {
    return partials() == 1 ? 0 : static_cast<size_t>(partials() * outputs) * sizeof(A);
  }

 private:
  void cut_rows();
  void cut_columns();
};

/// Elements of T that a thread of a reduction loads at once where extents allow: 16 bytes of the types of training.
template <class T>
inline constexpr int kReducePack = std::is_same_v<Compute<T>, float> ? 16 / static_cast<int>(sizeof(T)) : 1;

/// Bytes of scratch for reduce() or, on a GPU, cuda::reduce() of elements of T with partial results of type A.
template <class A, class T>
size_t reduce_workspace(const Context& context, const LaneReduction& plan) {
  if (context.device().kind == Device::Kind::cpu) return plan.workspace<A>();
  return DeviceReduction(plan, kReducePack<T>).workspace<A>();
}

}  // namespace tern
