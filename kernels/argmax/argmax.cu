#include <limits>

#include "kernels/common/extreme_policy.h"
#include "kernels/common/team.cuh"

namespace tern::cuda {
namespace {

template <class A>
struct LargerOrNan {
  __device__ A operator()(A a, A b) const { return ExtremePolicy<A, true>{}.combine(a, b); }
};

struct Lower {
  __device__ int64_t operator()(int64_t a, int64_t b) const { return b < a ? b : a; }
};

/// A team finds the largest value and then where it is first; one thread where the axis is not the innermost one.
template <class T>
struct ArgmaxRow {
  const T* x;
  int64_t* out;
  int64_t extent, stride;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    using A = Compute<T>;
    const T* from = x + r / stride * stride * extent + r % stride;
    const int64_t nowhere = std::numeric_limits<int64_t>::max();
    A best = ExtremePolicy<A, true>{}.identity();
    int64_t at = nowhere;
#pragma unroll 4
    for (int64_t i = team.rank; i < extent; i += team.size) {
      const A value = widen(from[i * stride]);
      if (at == nowhere || (best == best && (value > best || value != value))) {
        best = value;
        at = i;
      }
    }
    const A largest = team.reduce(best, ExtremePolicy<A, true>{}.identity(), LargerOrNan<A>{});
    const bool found = best == largest || (best != best && largest != largest);
    at = team.reduce(found ? at : nowhere, nowhere, Lower{});
    if (team.rank == 0 && active) out[r] = at;
  }
};

}  // namespace

void argmax(Launch& launch, int axis) {
  const Shape& shape = launch.in[0].shape();
  int64_t stride = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) stride *= shape[i];
  dispatch_all(launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const ArgmaxRow<T> row{launch.in[0].data<T>(), launch.out[0].data<int64_t>(), shape[axis], stride};
    launch_rows(launch.context, "argmax", row, launch.out[0].numel(), stride == 1 ? team_size_for(shape[axis]) : 1);
  });
}

}  // namespace tern::cuda
