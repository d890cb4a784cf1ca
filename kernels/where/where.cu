#include "kernels/common/elementwise.cuh"
#include "kernels/common/units.cuh"

namespace tern::cuda {
namespace {

struct Select {
  template <class T>
  __device__ T operator()(uint8_t condition, T a, T b) const {
    return condition ? a : b;
  }
};

}  // namespace

void where(Launch& launch) {
  const auto loop =
      plan_broadcast<3>(launch.out[0].shape(), {launch.in[0].shape(), launch.in[1].shape(), launch.in[2].shape()});
  const uint8_t* condition = launch.in[0].data<uint8_t>();
  dispatch_bits(launch.out[0].dtype(), [&](auto unit) {
    using T = decltype(unit);
    const auto* a = static_cast<const T*>(launch.in[1].raw());
    const auto* b = static_cast<const T*>(launch.in[2].raw());
    map<kPackWidth<T>>(launch.context, "where", Select{}, loop, launch.out[0].numel(), static_cast<T*>(launch.out[0].raw()),
                       condition, a, b);
  });
}

}  // namespace tern::cuda
