#include "core/launch.cuh"
#include "core/rng.h"
#include "kernels/conv2d/conv2d_cuda.h"

namespace tern::cuda {
namespace {

/// A thread takes every grid_step()-th element.
template <class T>
__global__ void add_bias_kernel(const T* bias, T* y, int64_t count, int64_t width) {
  for (int64_t i = first_index(); i < count; i += grid_step()) y[i] = narrow<T>(widen(y[i]) + widen(bias[i % width]));
}

template <class T>
__global__ void noise_kernel(T* to, int64_t count) {
  for (int64_t i = first_index(); i < count; i += grid_step()) {
    const Random4 random = philox4x32(Random4{{static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), 0, 0}}, 1, 2);
    to[i] = narrow<T>(2 * uniform01(random.v[0]) - 1);
  }
}

}  // namespace

void add_bias(Context& context, std::string_view op, DType dtype, const void* bias, void* y, int64_t count,
              int64_t width) {
  dispatch_floating(op, dtype, [&](auto t) {
    using T = decltype(t);
    launch(context, op, add_bias_kernel<T>, blocks_for(context, count), kThreads, static_cast<const T*>(bias),
           static_cast<T*>(y), count, width);
  });
}

void fill_noise(Context& context, std::string_view op, DType dtype, void* to, int64_t count) {
  dispatch_floating(op, dtype, [&](auto t) {
    using T = decltype(t);
    launch(context, op, noise_kernel<T>, blocks_for(context, count), kThreads, static_cast<T*>(to), count);
  });
}

}  // namespace tern::cuda
