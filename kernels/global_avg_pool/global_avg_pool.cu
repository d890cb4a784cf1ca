#include "kernels/common/column_sum.cuh"

namespace tern::cuda {
namespace {

/// A block makes 32 * kWidth channels (or fewer) of one picture's mean.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    global_avg_pool_kernel(const T* x, T* y, int64_t pixels, int64_t channels, int columns, int groups) {
  const int64_t image = blockIdx.x / static_cast<unsigned>(groups);
  const int64_t first = static_cast<int64_t>(blockIdx.x % static_cast<unsigned>(groups)) * columns * kWidth;
  const int64_t channel = first + static_cast<int64_t>(threadIdx.x) % columns * kWidth;
  Compute<T> sum[kWidth] = {};
  if (channel < channels) {
    const T* from = x + image * pixels * channels + channel;
#pragma unroll 4
    for (int64_t r = static_cast<int64_t>(threadIdx.x) / columns; r < pixels; r += kThreads / columns) {
      const auto v = load_pack<T, kWidth>(from + r * channels);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] += widen(v.v[k]);
    }
  }
  column_sum(columns, sum, [&](int column, int k, double total) {
    const int64_t c = first + column * kWidth + k;
    if (c < channels) y[image * channels + c] = narrow<T>(static_cast<Compute<T>>(total / static_cast<double>(pixels)));
  });
}

/// A thread writes kWidth channels of a pixel of dx a turn.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    global_avg_pool_grad_kernel(const T* dy, T* dx, int64_t pixels, int64_t channel_packs, int64_t packs) {
  for (int64_t pack = first_index(); pack < packs; pack += grid_step()) {
    const int64_t image = pack / (pixels * channel_packs);
    const auto g = load_pack<T, kWidth>(dy + (image * channel_packs + pack % channel_packs) * kWidth);
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out.v[k] = narrow<T>(widen(g.v[k]) / static_cast<Compute<T>>(pixels));
    store_pack(dx + pack * kWidth, out);
  }
}

}  // namespace

void global_avg_pool(Launch& l) {
  const Shape& shape = l.in[0].shape();
  const int64_t pixels = shape[1] * shape[2], channels = shape[3];
  dispatch_floating("global_avg_pool", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* x = l.in[0].data<T>();
    T* y = l.out[0].data<T>();
    with_pack_width<T>(
        channels,
        [&](auto width) {
          const int columns = columns_for(channels / width);
          const int64_t groups = ceil_div(channels, columns * width);
          launch(l.context, "global_avg_pool", global_avg_pool_kernel<T, width>, shape[0] * groups, kThreads, x, y,
                 pixels, channels, columns, groups);
        },
        x, y);
  });
}

void global_avg_pool_grad(Launch& l) {
  const Shape& shape = l.out[0].shape();
  const int64_t pixels = shape[1] * shape[2], channels = shape[3];
  dispatch_floating("global_avg_pool_grad", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* dy = l.in[0].data<T>();
    T* dx = l.out[0].data<T>();
    with_pack_width<T>(
        channels,
        [&](auto width) {
          const int64_t packs = l.out[0].numel() / width;
          launch(l.context, "global_avg_pool_grad", global_avg_pool_grad_kernel<T, width>, blocks_for(l.context, packs),
                 kThreads, dy, dx, pixels, channels / width, packs);
        },
        dy, dx);
  });
}

}  // namespace tern::cuda
