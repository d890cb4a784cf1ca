#pragma once
#include "kernels/common/device_reduction.h"
#include "kernels/common/held_row.cuh"

/// Reductions over any axes on a GPU, with the policies of kernels/common/reduce.h: one pass over x, and a small second
/// kernel where an output has several partial results. Chains of sums are 16 loads long, then added up.
namespace tern::cuda {

/// Partial results [lanes][tasks][outputs]; the last lane has last_tasks only.
struct PartialResults {
  int64_t lanes, tasks, last_tasks, outputs;
};

/// Writes a finished result: reduce() calls it once for each output.
template <class Out, class P>
struct FinishTo {
  Out* out;
  P policy;
  template <class A>
  __device__ void operator()(int64_t output, A total) const {
    out[output] = narrow<Out>(static_cast<Compute<Out>>(policy.finish(total)));
  }
};

namespace reduce_detail {

inline constexpr int kAtOnce = 4;  // loads in flight of a thread
inline constexpr int kChain = 4;   // turns of kAtOnce loads in one chain of sums

/// index / extent and the rest; with 32 bits where they suffice.
__device__ inline int64_t divide(int64_t index, int64_t extent, int64_t& rest) {
  if (((index | extent) >> 32) == 0) {
    const uint32_t quotient = static_cast<uint32_t>(index) / static_cast<uint32_t>(extent);
    rest = static_cast<uint32_t>(index) - quotient * static_cast<uint32_t>(extent);
    return quotient;
  }
  rest = index % extent;
  return index / extent;
}

/// ReduceLoop::Axes::offset with cheaper divisions.
__device__ inline int64_t axes_offset(const ReduceLoop::Axes& axes, int64_t index) {
  if (axes.rank == 0) return 0;
  int64_t result = 0;
  for (int d = 0; d + 1 < axes.rank; ++d) {
    int64_t at;
    index = divide(index, axes.extents[d], at);
    result += at * axes.strides[d];
  }
  return result + index * axes.strides[axes.rank - 1];
}

/// One thread's part of a reduction: kPack running results, each in chains of a fixed length.
template <int kPack, class A, class P>
struct Chains {
  const P& policy;
  A chain[kPack], total[kPack];

  __device__ explicit Chains(const P& p) : policy(p) {
    for (int i = 0; i < kPack; ++i) chain[i] = total[i] = policy.identity();
  }
  __device__ void link() {
    for (int i = 0; i < kPack; ++i) {
      total[i] = policy.combine(total[i], chain[i]);
      chain[i] = policy.identity();
    }
  }
  /// All packs of index begin, begin + step, .. below end: at(index) is where one starts, and its i-th element belongs
  /// to output + i * kOutputStep.
  template <int kOutputStep, class T, class At>
  __device__ void run(const At& at, int64_t begin, int64_t end, int64_t step, bool aligned, int64_t output) {
    int64_t index = begin;
    for (int turn = 1; index + (kAtOnce - 1) * step < end; index += kAtOnce * step, ++turn) {
      Pack<T, kPack> packs[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) packs[j] = load_any<kPack>(at(index + j * step), aligned);
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) add<kOutputStep>(packs[j], output);
      if (turn % kChain == 0) link();
    }
    for (; index < end; index += step) add<kOutputStep>(load_any<kPack>(at(index), aligned), output);
    link();
  }
  template <int kOutputStep, class T>
  __device__ void add(const Pack<T, kPack>& pack, int64_t output) {
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      chain[i] = policy.combine(chain[i], policy.map(widen(pack.v[i]), output + i * kOutputStep));
  }
};

template <class P>
struct Combine {
  const P& policy;
  template <class A>
  __device__ A operator()(A a, A b) const {
    return policy.combine(a, b);
  }
};

/// Where the units of a row reduction lie.
template <int kPack, class T>
struct RowUnits {
  const DeviceReduction& plan;
  const T* x;
  __device__ const T* operator()(int64_t unit) const {
    if (plan.loop.rows == 1) return x + unit * kPack;
    int64_t in_row;
    const int64_t row = divide(unit, plan.units, in_row);
    return x + axes_offset(plan.loop.reduced, row) + in_row * kPack;
  }
};

/// Innermost axis reduced: a team (some threads of a warp, or the block) does one task of one output of one lane, each
/// thread every team.size-th unit.
template <int kPack, class A, class T, class P, class Sink>
struct ReduceRow {
  DeviceReduction plan;
  P policy;
  const T* x;
  A* partials;
  Sink sink;
  bool aligned;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t item, bool active) const {
    int64_t task, output;
    const int64_t lane = divide(divide(item, plan.tasks, task), plan.outputs, output);
    const bool last = lane == plan.lanes - 1;
    const T* from = x + lane * plan.lane_elements + axes_offset(plan.loop.kept, output);
    const int64_t inner = last ? plan.last_inner : plan.loop.inner, rows = last ? plan.last_rows : plan.loop.rows;
    const int64_t units = rows * (inner / kPack);
    const int64_t begin = task * plan.task_size;
    const int64_t end = begin + plan.task_size < units ? begin + plan.task_size : units;
    Chains<kPack, A, P> chains(policy);
    chains.template run<0, T>(RowUnits<kPack, T>{plan, from}, begin + team.rank, end, team.size, aligned, output);
    A result = chains.total[0];
    for (int i = 1; i < kPack; ++i) result = policy.combine(result, chains.total[i]);
    if (kPack > 1 && rows == 1 && task == 0)  // what is left of a single run of elements
      for (int64_t i = units * kPack + team.rank; i < inner; i += team.size)
        result = policy.combine(result, policy.map(widen(from[i]), output));
    result = team.reduce(result, policy.identity(), Combine<P>{policy});
    if (team.rank != 0 || !active) return;
    if (partials)
      partials[(lane * plan.tasks + task) * plan.outputs + output] = result;
    else
      sink(output, result);
  }
};

/// Where the rows of a column reduction lie, from the thread's own column on.
template <class T>
struct ColumnRows {
  const DeviceReduction& plan;
  const T* x;
  __device__ const T* operator()(int64_t row) const { return x + axes_offset(plan.loop.reduced, row); }
};

/// Innermost axis kept: a block does one task of columns * kPack neighbouring outputs. A thread reads every
/// rows_at_once-th row of its pack of columns; the threads of a column then meet in shared memory.
template <int kPack, class A, class T, class P, class Sink>
__global__ void reduce_columns_kernel(DeviceReduction plan, P policy, const T* x, A* partials, Sink sink,
                                      bool aligned) {
  __shared__ A shared[kPack * kThreads];
  const int64_t strips = (plan.units + plan.columns - 1) / plan.columns;
  int64_t task, strip, outer;
  const int64_t lane = divide(divide(divide(blockIdx.x, plan.tasks, task), strips, strip), plan.loop.outputs, outer);
  const int64_t unit = strip * plan.columns + threadIdx.x % plan.columns;
  const int below = static_cast<int>(threadIdx.x) / plan.columns;
  const int64_t output = outer * plan.loop.inner + unit * kPack;
  Chains<kPack, A, P> chains(policy);
  if (unit < plan.units) {
    const T* from = x + lane * plan.lane_elements + axes_offset(plan.loop.kept, outer) + unit * kPack;
    const int64_t rows = lane == plan.lanes - 1 ? plan.last_rows : plan.loop.rows;
    const int64_t begin = task * plan.task_size;
    const int64_t end = begin + plan.task_size < rows ? begin + plan.task_size : rows;
    chains.template run<1, T>(ColumnRows<T>{plan, from}, begin + below, end, plan.rows_at_once, aligned, output);
  }
  A* mine = shared + threadIdx.x;
  for (int half = plan.rows_at_once / 2; half > 0; half /= 2) {
    if (below < 2 * half)
      for (int i = 0; i < kPack; ++i) mine[i * kThreads] = chains.total[i];
    __syncthreads();
    if (below < half)
      for (int i = 0; i < kPack; ++i)
        chains.total[i] = policy.combine(chains.total[i], mine[i * kThreads + half * plan.columns]);
    __syncthreads();
  }
  if (below != 0 || unit >= plan.units) return;
  for (int i = 0; i < kPack; ++i) {
    if (partials)
      partials[(lane * plan.tasks + task) * plan.outputs + output + i] = chains.total[i];
    else
      sink(output + i, chains.total[i]);
  }
}

/// Adds up leaves in the canonical tree of core/lanes.h as they come, with one open subtree a level.
template <class A, class P>
struct CanonicalTree {
  const P& policy;
  A open[32];
  int depth = 0;
  int64_t leaves = 0;

  __device__ explicit CanonicalTree(const P& p) : policy(p) {}
  __device__ void push(A leaf) {
    open[depth++] = leaf;
    for (int64_t done = ++leaves; done % 2 == 0; done /= 2) merge();
  }
  __device__ A finish() {
    while (depth > 1) merge();
    return open[0];
  }
  __device__ void merge() {
    --depth;
    open[depth - 1] = policy.combine(open[depth - 1], open[depth]);
  }
};

/// Combines partial results. A block does `columns` outputs with kThreads / columns threads each: they
/// share the tasks of as many lanes as they can, and the first of them adds up the lanes in the canonical tree.
template <class A, class From, class P, class Sink>
__global__ void combine_partials_kernel(P policy, const From* partials, PartialResults extents, int columns,
                                        int threads_per_lane, Sink sink) {
  __shared__ A shared[kThreads];
  const int below = static_cast<int>(threadIdx.x) / columns;
  const int lanes_at_once = kThreads / columns / threads_per_lane, at = below % threads_per_lane;
  const int64_t output = int64_t{blockIdx.x} * columns + threadIdx.x % columns;
  CanonicalTree<A, P> tree(policy);
  for (int64_t first = 0; first < extents.lanes; first += lanes_at_once) {
    const int64_t lane = first + below / threads_per_lane;
    A sum = policy.identity();
    if (lane < extents.lanes && output < extents.outputs) {
      const From* from = partials + lane * extents.tasks * extents.outputs + output;
      const int64_t tasks = lane == extents.lanes - 1 ? extents.last_tasks : extents.tasks;
#pragma unroll 4
      for (int64_t task = at; task < tasks; task += threads_per_lane)
        sum = policy.combine(sum, from[task * extents.outputs]);
    }
    shared[threadIdx.x] = sum;
    for (int half = threads_per_lane / 2; half > 0; half /= 2) {
      __syncthreads();
      if (at < half) sum = shared[threadIdx.x] = policy.combine(sum, shared[threadIdx.x + half * columns]);
    }
    __syncthreads();
    if (below == 0)
      for (int64_t l = 0; l < lanes_at_once && first + l < extents.lanes; ++l)
        tree.push(shared[threadIdx.x + l * threads_per_lane * columns]);
    __syncthreads();
  }
  if (below == 0 && output < extents.outputs) sink(output, tree.finish());
}

template <int kPack, class A, class T, class P, class Sink>
void launch_reduce(Context& context, std::string_view op, const DeviceReduction& plan, const P& policy, const T* x,
                   A* partials, const Sink& sink) {
  const bool aligned = kPack == 1 || aligned16(x);
  if (plan.loop.inner_reduced) {
    const ReduceRow<kPack, A, T, P, Sink> row{plan, policy, x, partials, sink, aligned};
    return launch_rows(context, op, row, plan.lanes * plan.outputs * plan.tasks, plan.team);
  }
  const int64_t blocks = plan.lanes * plan.loop.outputs * ceil_div(plan.units, plan.columns) * plan.tasks;
  launch(context, op, reduce_columns_kernel<kPack, A, T, P, Sink>, blocks, plan.columns * plan.rows_at_once, plan,
         policy, x, partials, sink, aligned);
}

}  // namespace reduce_detail

/// sink(o, total) for every output: the tasks of a lane in a fixed order, then the lanes in the canonical tree, in A.
template <class A, class From, class P, class Sink>
void combine_partials(Context& context, std::string_view op, const P& policy, const From* partials,
                      const PartialResults& extents, const Sink& sink) {
  int columns = kThreads, threads_per_lane = 1;
  // Several threads for an output where there is much to add up; 8 neighbours still fill a memory sector.
  if (extents.tasks > 8 || extents.lanes > 8) {
    columns = 1;
    while (columns < 8 && columns < extents.outputs) columns *= 2;
    while (threads_per_lane < kThreads / columns && threads_per_lane < extents.tasks) threads_per_lane *= 2;
  }
  launch(context, op, reduce_detail::combine_partials_kernel<A, From, P, Sink>, ceil_div(extents.outputs, columns),
         kThreads, policy, partials, extents, columns, threads_per_lane, sink);
}

/// sink(o, combine of map(x_i, o)) for every output o. A policy works on Compute<T> and A. `workspace`:
/// reduce_workspace<A, T>() bytes.
template <class A, class T, class P, class Sink>
void reduce_into(Context& context, std::string_view op, const LaneReduction& lanes, const P& policy, const T* x,
                 const Sink& sink, std::span<std::byte> workspace) {
  const DeviceReduction plan(lanes, kReducePack<T>);
  A* partials = plan.partials() == 1 ? nullptr : reinterpret_cast<A*>(workspace.data());
  if (plan.pack == 1)
    reduce_detail::launch_reduce<1>(context, op, plan, policy, x, partials, sink);
  else
    reduce_detail::launch_reduce<kReducePack<T>>(context, op, plan, policy, x, partials, sink);
  if (!partials) return;
  const PartialResults extents{plan.lanes, plan.tasks, plan.tasks, plan.outputs};
  combine_partials<A>(context, op, policy, static_cast<const A*>(partials), extents, sink);
}

/// out[o] = finish(combine of map(x_i, o)): tern::reduce() on a GPU.
template <class A, class T, class Out, class P>
void reduce(Context& context, std::string_view op, const LaneReduction& plan, const P& policy, const T* x, Out* out,
            std::span<std::byte> workspace) {
  reduce_into<A>(context, op, plan, policy, x, FinishTo<Out, P>{out, policy}, workspace);
}

}  // namespace tern::cuda
