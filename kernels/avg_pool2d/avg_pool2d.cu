#include "kernels/common/pool.cuh"

namespace tern::cuda {
namespace {

/// A thread makes kWidth channels of an output pixel.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) avg_pool_kernel(Window w, bool count_padding, const T* x, T* y, int64_t packs) {
  for (int64_t pack = first_index(); pack < packs; pack += grid_step()) {
    const PoolPixel o = pool_pixel(pack, kWidth, w.c, w.q, w.p);
    Compute<T> sum[kWidth] = {};
    for_window(w, o.row, o.column, [&](int64_t r, int64_t s) {
      const auto v = load_pack<T, kWidth>(x + w.x_at(o.image, r, s) + o.channel);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] += widen(v.v[k]);
    });
    const auto count = static_cast<Compute<T>>(w.values_in(o.row, o.column, count_padding));
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out.v[k] = narrow<T>(sum[k] / count);
    store_pack(y + pack * kWidth, out);
  }
}

/// A thread makes kWidth channels of a pixel of dx: its share of each window that covers it.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) avg_pool_grad_kernel(Window w, bool count_padding, const T* dy, T* dx, int64_t packs) {
  for (int64_t pack = first_index(); pack < packs; pack += grid_step()) {
    const PoolPixel p = pool_pixel(pack, kWidth, w.c, w.w, w.h);
    Compute<T> sum[kWidth] = {};
    for_covering_windows(w, p.row, p.column, [&](int64_t i, int64_t j) {
      const auto g = load_pack<T, kWidth>(dy + w.y_at(p.image, i, j) + p.channel);
      const auto count = static_cast<Compute<T>>(w.values_in(i, j, count_padding));
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] += widen(g.v[k]) / count;
    });
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out.v[k] = narrow<T>(sum[k]);
    store_pack(dx + pack * kWidth, out);
  }
}

}  // namespace

void avg_pool2d(Launch& l, const Window& w, bool count_padding) {
  dispatch_floating("avg_pool2d", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* x = l.in[0].data<T>();
    T* y = l.out[0].data<T>();
    with_pack_width<T>(
        w.c,
        [&](auto width) {
          const int64_t packs = l.out[0].numel() / width;
          launch(l.context, "avg_pool2d", avg_pool_kernel<T, width>, blocks_for(l.context, packs), kThreads, w,
                 count_padding, x, y, packs);
        },
        x, y);
  });
}

void avg_pool2d_grad(Launch& l, const Window& w, bool count_padding) {
  dispatch_floating("avg_pool2d_grad", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* dy = l.in[0].data<T>();
    T* dx = l.out[0].data<T>();
    with_pack_width<T>(
        w.c,
        [&](auto width) {
          const int64_t packs = l.out[0].numel() / width;
          launch(l.context, "avg_pool2d_grad", avg_pool_grad_kernel<T, width>, blocks_for(l.context, packs), kThreads, w,
                 count_padding, dy, dx, packs);
        },
        dy, dx);
  });
}

}  // namespace tern::cuda
