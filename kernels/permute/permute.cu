#include "kernels/common/units.cuh"
#include "kernels/permute/plan.h"

namespace tern::cuda {
namespace {

/// Element by element, for permutations that keep x's last axis or have nothing to gain from tiles.
struct Permuted {
  PermutePlan plan;
  __device__ Place operator()(int64_t i) const {
    int64_t rest = i, from = 0;
    for (int axis = plan.rank - 1; axis >= 0; --axis) {
      const int64_t next = axis == 0 ? 0 : rest / plan.extents[axis];
      from += (rest - next * plan.extents[axis]) * plan.strides[axis];
      rest = next;
    }
    return {from, i};
  }
};

/// A permutation as transpositions of matrices: y's last axis (columns) against the one that is x's last (rows).
struct Transposition {
  int64_t rows, columns;                // of y's matrices
  int64_t from_stride, to_stride;       // of a column in x; of a row in y
  int rank = 0;                         // the other axes
  int64_t extents[Shape::kMaxRank], from_strides[Shape::kMaxRank], to_strides[Shape::kMaxRank];
};

template <class T>
constexpr int kTile = sizeof(T) <= 2 ? 64 : 32;

/// A block transposes one tile through shared memory: it reads along x's last axis and writes along y's.
template <class T>
__global__ void transpose_kernel(Transposition plan, const T* from, T* to) {
  constexpr int kPadding = sizeof(T) < 4 ? 4 / sizeof(T) : 1;  // consecutive rows start in different banks
  __shared__ T tile[kTile<T>][kTile<T> + kPadding];
  const int64_t row_tiles = (plan.rows + kTile<T> - 1) / kTile<T>, column_tiles = (plan.columns + kTile<T> - 1) / kTile<T>;
  int64_t rest = blockIdx.x;
  const int64_t first_row = rest % row_tiles * kTile<T>;
  rest /= row_tiles;
  const int64_t first_column = rest % column_tiles * kTile<T>;
  rest /= column_tiles;
  for (int axis = plan.rank - 1; axis >= 0; --axis) {
    const int64_t next = rest / plan.extents[axis], index = rest - next * plan.extents[axis];
    from += index * plan.from_strides[axis];
    to += index * plan.to_strides[axis];
    rest = next;
  }
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
#pragma unroll
  for (int c = warp; c < kTile<T>; c += warps)
    for (int r = lane; r < kTile<T>; r += 32)
      if (first_row + r < plan.rows && first_column + c < plan.columns)
        tile[c][r] = from[(first_column + c) * plan.from_stride + first_row + r];
  __syncthreads();
#pragma unroll
  for (int r = warp; r < kTile<T>; r += warps)
    for (int c = lane; c < kTile<T>; c += 32)
      if (first_row + r < plan.rows && first_column + c < plan.columns)
        to[(first_row + r) * plan.to_stride + first_column + c] = tile[c][r];
}

Transposition transposition_of(const PermutePlan& plan) {
  Transposition result{};
  int64_t to_stride = 1;
  for (int i = plan.rank - 1; i >= 0; --i) {
    const size_t axis = static_cast<size_t>(i);
    if (i == plan.rank - 1) {
      result.columns = plan.extents[axis];
      result.from_stride = plan.strides[axis];
    } else if (plan.strides[axis] == 1) {
      result.rows = plan.extents[axis];
      result.to_stride = to_stride;
    } else {
      result.extents[result.rank] = plan.extents[axis];
      result.from_strides[result.rank] = plan.strides[axis];
      result.to_strides[result.rank++] = to_stride;
    }
    to_stride *= plan.extents[axis];
  }
  return result;
}

/// The same permutation of rows of units instead of rows of elements: x's last axis stays the last.
PermutePlan in_units(PermutePlan plan, int64_t element, int64_t unit) {
  const size_t last = static_cast<size_t>(plan.rank - 1);
  for (size_t axis = 0; axis < last; ++axis) plan.strides[axis] = plan.strides[axis] * element / unit;
  plan.extents[last] = plan.extents[last] * element / unit;
  return plan;
}

constexpr int64_t kSmallestSide = 12;  // shorter sides fill too little of a tile

}  // namespace

void permute(Launch& launch, const PermutePlan& plan) {
  const void* from = launch.in[0].raw();
  void* to = launch.out[0].raw();
  const int64_t element = static_cast<int64_t>(size_of(launch.in[0].dtype())), count = launch.out[0].numel();
  if (plan.rank == 0) return move_units(launch.context, "permute", element, Permuted{plan}, from, to, count);
  const size_t last = static_cast<size_t>(plan.rank - 1);
  if (plan.strides[last] == 1) {
    const int64_t unit = unit_of(plan.extents[last] * element, from, to);
    const Permuted permuted{in_units(plan, element, unit)};
    return move_units(launch.context, "permute", unit, permuted, from, to, count * element / unit);
  }
  const Transposition matrices = transposition_of(plan);
  if (std::min(matrices.rows, matrices.columns) < kSmallestSide)
    return move_units(launch.context, "permute", element, Permuted{plan}, from, to, count);
  dispatch_bits(launch.in[0].dtype(), [&](auto bits) {
    using T = decltype(bits);
    const int64_t tiles = ceil_div(matrices.rows, kTile<T>) * ceil_div(matrices.columns, kTile<T>);
    const int64_t blocks = tiles * (count / (matrices.rows * matrices.columns));
    tern::cuda::launch(launch.context, "permute", transpose_kernel<T>, blocks, kThreads, matrices,
                       static_cast<const T*>(from), static_cast<T*>(to));
  });
}

}  // namespace tern::cuda
