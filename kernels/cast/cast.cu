#include "kernels/cast/convert_number.h"
#include "kernels/common/elementwise.cuh"

namespace tern::cuda {
namespace {

template <class To>
struct Convert {
  template <class From>
  __device__ Compute<To> operator()(From x) const {
    return convert_number<Compute<To>>(x);
  }
};

/// Pairs of types that training meets; they go in runs.
template <class From, class To>
constexpr bool kIsFast = (std::is_same_v<From, float> || kIsHalf<From> || std::is_same_v<From, uint8_t>)&&(
    std::is_same_v<To, float> || kIsHalf<To>)&&!std::is_same_v<From, To>;

/// The other pairs: an element a thread.
template <class From, class To>
__global__ void cast_kernel(const From* x, To* y, int64_t count) {
  for (int64_t i = first_index(); i < count; i += grid_step()) y[i] = narrow<To>(Convert<To>{}(widen(x[i])));
}

}  // namespace

void cast(Launch& launch) {
  const int64_t count = launch.out[0].numel();
  dispatch_all(launch.in[0].dtype(), [&](auto from) {
    dispatch_all(launch.out[0].dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* x = launch.in[0].data<From>();
      To* y = launch.out[0].data<To>();
      if constexpr (kIsFast<From, To>) {
        constexpr int kWidth = std::min(kPackWidth<From>, kPackWidth<To>);
        map<kWidth>(launch.context, "cast", Convert<To>{}, dense_loop<1>(count), count, y, x);
      } else {
        tern::cuda::launch(launch.context, "cast", cast_kernel<From, To>, blocks_for(launch.context, count), kThreads, x, y, count);
      }
    });
  });
}

}  // namespace tern::cuda
