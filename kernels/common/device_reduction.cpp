#include "kernels/common/device_reduction.h"

#include <algorithm>
#include <bit>

namespace tern {
namespace {

constexpr int64_t kThreadUnits = 16;          // that a thread reads at least where there is enough to read
constexpr int64_t kFillingThreads = 1 << 18;  // of all blocks that a large GPU runs at a time
constexpr int64_t kMostThreadUnits = 256;

int64_t power_above(int64_t n) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(1, n))));
}
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// More for each thread as soon as all of them are busy: partial results stay few.
int64_t thread_units(int64_t all_units) {
  const int64_t rounds = std::max<int64_t>(1, all_units / (kThreadUnits * kFillingThreads));
  return std::min(kMostThreadUnits, kThreadUnits * power_above(rounds));
}

}  // namespace

DeviceReduction::DeviceReduction(const LaneReduction& plan, int wide)
    : loop(plan.whole),
      lanes(plan.lanes.count()),
      lane_elements(plan.lane_elements),
      outputs(plan.outputs),
      last_inner(loop.inner),
      last_rows(loop.rows) {
  if (lanes > 1 && plan.lanes.size > 1) {  // axis 0 is the outermost of the reduced axes, merged into one of these
    int64_t& extent = loop.inner_reduced && loop.rows == 1 ? last_inner : last_rows;
    extent = extent / plan.lanes.size * (plan.lanes.rows - (lanes - 1) * plan.lanes.size);
  }
  // A single run of elements may end within a pack; where several follow each other all must start at one.
  const bool single = loop.inner_reduced && loop.rows == 1 && outputs == 1 && lanes == 1;
  pack = single || loop.inner % wide == 0 ? wide : 1;
  units = loop.inner / pack;
  loop.inner_reduced ? cut_rows() : cut_columns();
}

void DeviceReduction::cut_rows() {
  const int64_t all = loop.rows * units;
  if (all <= kWarpUnits) {
    team = static_cast<int>(std::min<int64_t>(32, power_above(ceil_div(all, 4))));
    task_size = all;
    return;
  }
  team = kBlock;
  task_size = kBlock * thread_units(all * lanes * outputs);
  tasks = ceil_div(all, task_size);
}

void DeviceReduction::cut_columns() {
  const int64_t across = lanes * loop.outputs * units;  // threads if each had whole columns
  const int64_t below = std::min({power_above(loop.rows), kBlock / std::min<int64_t>(32, power_above(units)),
                                  power_above(ceil_div(kFillingThreads / 2, across))});
  rows_at_once = static_cast<int>(below);
  columns = static_cast<int>(std::min(kBlock / below, power_above(units)));
  task_size = loop.rows;
  if (across < kFillingThreads / 2) task_size = below * thread_units(across * loop.rows);
  tasks = ceil_div(loop.rows, task_size);
}

}  // namespace tern
