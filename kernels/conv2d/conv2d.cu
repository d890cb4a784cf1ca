#include <algorithm>

#include "core/launch.cuh"
#include "core/rng.h"
#include "kernels/common/scratch.h"
#include "kernels/conv2d/conv2d_cuda.h"
#include "kernels/conv2d/gather.cuh"

/// Convolution as a matrix product whose operands are gathered from the pictures while they are read (implicit GEMM).
/// result[line, column] = sum over steps of left(line, step) * right(column, step):
///   pass     line             column      step
///   forward  pixel of y       k           r,s,c
///   dgrad    pixel of x       c           r,s,k
///   wgrad    k                r,s,c       pixel of y
/// each of the groups alone. See gather.cuh for the operands.
namespace tern::cuda {
namespace {

constexpr int kTile = 64;             // lines and columns of a block's tile
constexpr int kDepth = 16;            // steps that are in shared memory at a time
constexpr int kSide = 4;              // lines and columns of a thread's part of it
constexpr int kChain = 8;             // tiles of steps that one chain of sums takes: 128 products
constexpr int kWanted = 528;          // blocks to have at least in wgrad, where steps can be cut into parts
constexpr int64_t kLeastSteps = 512;  // of such a part

/// The tiles of one launch; a block takes one tile of one group and one part of the steps.
struct Grid {
  int64_t lines = 0, columns = 0, steps = 0;  ///< of a group
  int64_t groups = 1, parts = 1, part_steps = 0;
  TERN_HOST_DEVICE int64_t line_tiles() const { return (lines + kTile - 1) / kTile; }
  TERN_HOST_DEVICE int64_t column_tiles() const { return (columns + kTile - 1) / kTile; }
  int64_t blocks() const { return line_tiles() * column_tiles() * groups * parts; }
};

/// Fills tile[kDepth][kTile] with an operand's steps [step, step + kDepth). Neighbouring threads take neighbouring
/// steps or neighbouring lines, whichever lie side by side in memory. Out of range: zeros.
template <class Operand, class A>
struct Loader {
  static constexpr bool kStepsAcross = Operand::kStepsAcross;
  static constexpr int kEach = kTile * kDepth / kThreads;  // elements a thread loads
  static constexpr int kLines = kStepsAcross ? kEach : 1;

  const Operand& operand;
  typename Operand::Line lines[kLines];

  __device__ Loader(const Operand& from, int64_t first, int64_t group) : operand(from) {
    for (int i = 0; i < kLines; ++i) lines[i] = operand.line(first + line_at(i), group);
  }
  __device__ static int line_at(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return kStepsAcross ? thread / kDepth + i * (kThreads / kDepth) : thread % kTile;
  }
  __device__ void load(int64_t step, int64_t end, A (&values)[kEach]) const {
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (kStepsAcross) {
      const int64_t own = step + thread % kDepth;
      const bool inside = own < end;
      const auto at = operand.step(inside ? own : end - 1);
      for (int i = 0; i < kEach; ++i) values[i] = inside ? operand.value(lines[i], at) : A(0);
    } else {
      for (int i = 0; i < kEach; ++i) {
        const int64_t own = step + thread / kTile + i * (kThreads / kTile);
        values[i] = own < end ? operand.value(lines[0], operand.step(own)) : A(0);
      }
    }
  }
  __device__ static void store(const A (&values)[kEach], A (&tile)[kDepth][kTile + 1]) {
    const int thread = static_cast<int>(threadIdx.x);
    for (int i = 0; i < kEach; ++i)
      tile[kStepsAcross ? thread % kDepth : thread / kTile + i * (kThreads / kTile)][line_at(i)] = values[i];
  }
};

/// A block makes a tile of 64 x 64 results, a thread 4 x 4 of them, 16 lines and 16 columns apart. The next steps are
/// read from memory while the present ones are multiplied. Sums are kept in two levels.
template <class Left, class Right, class Store>
__global__ void __launch_bounds__(kThreads) conv_kernel(Left left, Right right, Store store, Grid grid) {
  using A = typename Left::Wide;
  __shared__ A left_tile[kDepth][kTile + 1];
  __shared__ A right_tile[kDepth][kTile + 1];
  int64_t block = blockIdx.x;
  const int64_t line = block % grid.line_tiles() * kTile;
  block /= grid.line_tiles();
  const int64_t column = block % grid.column_tiles() * kTile;
  block /= grid.column_tiles();
  const int64_t group = block % grid.groups, part = block / grid.groups;
  const int64_t begin = part * grid.part_steps;
  const int64_t end = begin + grid.part_steps < grid.steps ? begin + grid.part_steps : grid.steps;

  const Loader<Left, A> left_loader(left, line, group);
  const Loader<Right, A> right_loader(right, column, group);
  A left_next[Loader<Left, A>::kEach], right_next[Loader<Right, A>::kEach];
  A total[kSide][kSide] = {}, chain[kSide][kSide] = {};
  const int own_line = static_cast<int>(threadIdx.x) / kDepth, own_column = static_cast<int>(threadIdx.x) % kDepth;
  left_loader.load(begin, end, left_next);
  right_loader.load(begin, end, right_next);
  int in_chain = 0;
  for (int64_t step = begin; step < end; step += kDepth) {
    left_loader.store(left_next, left_tile);
    right_loader.store(right_next, right_tile);
    __syncthreads();
    if (step + kDepth < end) {
      left_loader.load(step + kDepth, end, left_next);
      right_loader.load(step + kDepth, end, right_next);
    }
    for (int k = 0; k < kDepth; ++k) {
      A a[kSide], b[kSide];
      for (int i = 0; i < kSide; ++i) {
        a[i] = left_tile[k][own_line + i * kDepth];
        b[i] = right_tile[k][own_column + i * kDepth];
      }
      for (int i = 0; i < kSide; ++i)
        for (int j = 0; j < kSide; ++j) chain[i][j] += a[i] * b[j];
    }
    if (++in_chain == kChain || step + kDepth >= end) {
      in_chain = 0;
      for (int i = 0; i < kSide; ++i)
        for (int j = 0; j < kSide; ++j) {
          total[i][j] += chain[i][j];
          chain[i][j] = 0;
        }
    }
    __syncthreads();
  }
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j) {
      const int64_t to_line = line + own_line + i * kDepth, to_column = column + own_column + j * kDepth;
      if (to_line < grid.lines && to_column < grid.columns) store(to_line, to_column, group, part, total[i][j]);
    }
}

/// To rows of `width` elements, of which a group has `columns`; plus the bias, if any.
template <class T>
struct StorePixels {
  T* to;
  const T* bias;
  int64_t width, columns;
  __device__ void operator()(int64_t line, int64_t column, int64_t group, int64_t, Compute<T> value) const {
    const int64_t own = group * columns + column;
    to[line * width + own] = narrow<T>(bias ? value + widen(bias[own]) : value);
  }
};

/// To [parts, groups*lines, columns]: the sums of each part, or the result itself.
template <class T>
struct StoreWeights {
  T* to;
  int64_t lines, columns, elements;
  __device__ void operator()(int64_t line, int64_t column, int64_t group, int64_t part, Compute<T> value) const {
    to[part * elements + (group * lines + line) * columns + column] = narrow<T>(value);
  }
};

/// A thread sums element i of all parts, in order.
template <class T>
__global__ void sum_parts_kernel(const Compute<T>* sums, T* to, int64_t elements, int64_t parts) {
  for (int64_t i = first_index(); i < elements; i += grid_step()) {
    Compute<T> sum = sums[i];
    for (int64_t part = 1; part < parts; ++part) sum += sums[part * elements + i];
    to[i] = narrow<T>(sum);
  }
}

Grid grid_of(const ConvJob& job) {
  const ConvShape& s = job.shape;
  Grid grid{.groups = s.options.groups};
  if (job.pass == ConvPass::forward) {
    grid.lines = s.n * s.p * s.q, grid.columns = s.group_k(), grid.steps = s.r * s.s * s.group_c();
  } else if (job.pass == ConvPass::dgrad) {
    grid.lines = s.n * s.h * s.w, grid.columns = s.group_c(), grid.steps = s.r * s.s * s.group_k();
  } else {
    grid.lines = s.group_k(), grid.columns = s.r * s.s * s.group_c(), grid.steps = s.n * s.p * s.q;
    grid.parts = std::clamp(ceil_div(kWanted, grid.blocks()), int64_t{1}, ceil_div(grid.steps, kLeastSteps));
  }
  // Parts begin where tiles of steps do; rounding up may leave fewer of them.
  grid.part_steps = ceil_div(ceil_div(grid.steps, grid.parts), kDepth) * kDepth;
  grid.parts = ceil_div(grid.steps, grid.part_steps);
  return grid;
}

template <class Left, class Right, class Store>
void run(Context& context, const ConvJob& job, const Grid& grid, const Left& left, const Right& right,
         const Store& store) {
  launch(context, job.op(), conv_kernel<Left, Right, Store>, grid.blocks(), kThreads, left, right, store, grid);
}

template <class T>
void run_typed(Context& context, const ConvJob& job, const ConvBuffers& buffers, std::span<std::byte> workspace) {
  const ConvShape& s = job.shape;
  const Grid grid = grid_of(job);
  const auto* first = static_cast<const T*>(buffers.first);
  const auto* second = static_cast<const T*>(buffers.second);
  auto* result = static_cast<T*>(buffers.result);
  if (job.pass == ConvPass::forward) {
    const Dense<T, true> filters{second, grid.columns, grid.steps, grid.steps, grid.columns * grid.steps, 1};
    run(context, job, grid, PatchesByPixel<T>{{first, Geometry(s)}}, filters,
        StorePixels<T>{result, static_cast<const T*>(buffers.bias), s.k, grid.columns});
  } else if (job.pass == ConvPass::dgrad) {
    run(context, job, grid, Spread<T>{first, Geometry(s)}, FiltersByChannel<T>{second, Geometry(s)},
        StorePixels<T>{result, nullptr, s.c, grid.columns});
  } else {
    const Dense<T, false> gradients{second, grid.lines, grid.steps, 1, grid.lines, s.k};
    const PatchesByTap<T> patches{{first, Geometry(s)}};
    const int64_t elements = s.w_shape().numel();
    if (grid.parts == 1)
      return run(context, job, grid, gradients, patches, StoreWeights<T>{result, grid.lines, grid.columns, elements});
    auto* sums = Scratch(workspace).take<Compute<T>>(grid.parts * elements);
    run(context, job, grid, gradients, patches, StoreWeights<Compute<T>>{sums, grid.lines, grid.columns, elements});
    launch(context, job.op(), sum_parts_kernel<T>, blocks_for(context, elements), kThreads, sums, result, elements,
           grid.parts);
  }
}

}  // namespace

size_t own_conv_workspace(const ConvJob& job) {
  const Grid grid = grid_of(job);
  const int64_t sums = grid.parts == 1 ? 0 : grid.parts * job.shape.w_shape().numel();
  return job.dtype == DType::f64 ? scratch_bytes<double>(sums) : scratch_bytes<float>(sums);
}

void run_own_conv(Context& context, const ConvJob& job, const ConvBuffers& buffers, std::span<std::byte> workspace) {
  dispatch_floating(job.op(), job.dtype, [&](auto t) { run_typed<decltype(t)>(context, job, buffers, workspace); });
}

}  // namespace tern::cuda
