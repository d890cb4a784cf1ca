#include "kernels/max_pool2d/max_pool2d_device.cuh"
#include "kernels/max_pool2d/max_pool2d_ops.h"

namespace tern::cuda {
namespace {

/// A thread makes kWidth channels of an output pixel.
template <class T, int kWidth, class Index, int kKernel>
__global__ void __launch_bounds__(kThreads) max_pool_kernel(Window w, const T* x, T* y, Index* index, int64_t packs) {
  for (int64_t pack = first_index(); pack < packs; pack += grid_step()) {
    const PoolPixel o = pool_pixel(pack, kWidth, w.c, w.q, w.p);
    const auto load = [&](int64_t r, int64_t s) { return load_pack<T, kWidth>(x + w.x_at(o.image, r, s) + o.channel); };
    const Largest<T, kWidth> largest = largest_of_window<T, kWidth, kKernel>(w, o, load);
    store_pack(y + pack * kWidth, largest.values());
    if (index != nullptr) store_pack(index + pack * kWidth, largest.template positions<Index>());
  }
}

/// A thread makes kWidth channels of a pixel of dx: it adds dy of the windows whose largest element the pixel was.
template <class T, int kWidth, class Index>
__global__ void __launch_bounds__(kThreads) max_pool_grad_kernel(Window w, const T* dy, const Index* index, T* dx, int64_t packs) {
  for (int64_t pack = first_index(); pack < packs; pack += grid_step()) {
    const PoolPixel p = pool_pixel(pack, kWidth, w.c, w.w, w.h);
    Compute<T> sum[kWidth] = {};
    for_covering_windows(w, p.row, p.column, [&](int64_t i, int64_t j) {
      const int64_t at = w.y_at(p.image, i, j) + p.channel;
      const auto chosen = load_pack<Index, kWidth>(index + at);
      const auto g = load_pack<T, kWidth>(dy + at);
      const int position = static_cast<int>(w.position(i, j, p.row, p.column));
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        if (static_cast<int>(chosen.v[k]) == position) sum[k] += widen(g.v[k]);
    });
    Pack<T, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out.v[k] = narrow<T>(sum[k]);
    store_pack(dx + pack * kWidth, out);
  }
}

template <class T, int kWidth, class Index>
void start_max_pool(Context& context, const Window& w, const T* x, T* y, Index* index) {
  const int64_t packs = w.n * w.p * w.q * w.c / kWidth;
  auto kernel = max_pool_kernel<T, kWidth, Index, 0>;
  if constexpr (kWidth > 1 && sizeof(Index) == 1) {
    if (w.kernel == 2) kernel = max_pool_kernel<T, kWidth, Index, 2>;
    if (w.kernel == 3) kernel = max_pool_kernel<T, kWidth, Index, 3>;
  }
  launch(context, "max_pool2d", kernel, blocks_for(context, packs), kThreads, w, x, y, index, packs);
}

}  // namespace

void max_pool2d(Launch& l, const Window& w) {
  dispatch_floating("max_pool2d", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    dispatch_index(w.kernel, [&](auto n) {
      using Index = decltype(n);
      const T* x = l.in[0].data<T>();
      T* y = l.out[0].data<T>();
      Index* index = l.out.size() > 1 ? l.out[1].data<Index>() : nullptr;
      with_pack_width<T>(w.c, [&](auto width) { start_max_pool<T, width>(l.context, w, x, y, index); }, x, y, index);
    });
  });
}

void max_pool2d_grad(Launch& l, const Window& w) {
  dispatch_floating("max_pool2d_grad", l.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    dispatch_index(w.kernel, [&](auto n) {
      using Index = decltype(n);
      const T* dy = l.in[0].data<T>();
      const Index* index = l.in[1].data<Index>();
      T* dx = l.out[0].data<T>();
      with_pack_width<T>(
          w.c,
          [&](auto width) {
            const int64_t packs = l.out[0].numel() / width;
            launch(l.context, "max_pool2d_grad", max_pool_grad_kernel<T, width, Index>, blocks_for(l.context, packs),
                   kThreads, w, dy, index, dx, packs);
          },
          dy, index, dx);
    });
  });
}

}  // namespace tern::cuda
