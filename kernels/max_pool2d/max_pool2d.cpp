#include "kernels/max_pool2d/max_pool2d.h"

#include "kernels/common/loops.h"
#include "kernels/max_pool2d/max_pool2d_ops.h"
#include "kernels/max_pool2d/pool_four.h"

namespace tern {
namespace {

DType index_dtype(int64_t kernel) { return kernel <= 16 ? DType::u8 : DType::i32; }

/// PyTorch's rule, which keeps the first of equal elements and the last of NaNs.
template <class Acc>
void keep_larger(Acc v, int32_t position, Acc& best, int32_t& where) {
  const bool wins = (v > best) | (v != v);
  best = wins ? v : best;
  where = wins ? position : where;
}

/// 2x2 windows that do not overlap and do not reach over the picture's edge, of f32: the common case, a row at a time.
bool in_fours(const Window& w, DType dtype) { return dtype == DType::f32 && w.kernel == 2 && w.stride == 2 && w.padding == 0; }

/// Calls body(image, i) for each row of windows, on the pool.
template <class Body>
void for_window_rows(Context& context, const Window& w, const Body& body) {
  for_chunks(
      context, w.n * w.p,
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) body(row / w.p, row % w.p);
      },
      std::max<int64_t>(1, 4096 / (w.q * w.c)));
}

/// One output pixel of any window. Channels go in blocks so that the running maximum stays in the L1 cache.
template <class T, class Index>
void max_of_window(const Window& window, int64_t image, int64_t i, int64_t j, const T* x, T* y, Index* index) {
  using Acc = Accumulator<T>;
  constexpr int64_t kBlock = 64;
  Acc best[kBlock];
  int32_t where[kBlock];  // as wide as f32, so that both are chosen by one mask
  for (int64_t begin = 0; begin < window.c; begin += kBlock) {
    const int64_t count = std::min(kBlock, window.c - begin);
    const int64_t first_r = window.row_begin(i), first_s = window.col_begin(j);
    const T* first = x + window.x_at(image, first_r, first_s) + begin;
    const int32_t first_position = static_cast<int32_t>(window.position(i, j, first_r, first_s));
    for (int64_t k = 0; k < count; ++k) best[k] = static_cast<Acc>(first[k]);
    for (int64_t k = 0; k < count; ++k) where[k] = first_position;
    for_window(window, i, j, [&](int64_t r, int64_t s) {
      const T* from = x + window.x_at(image, r, s) + begin;
      const int32_t position = static_cast<int32_t>(window.position(i, j, r, s));
      TERN_INDEPENDENT
      for (int64_t k = 0; k < count; ++k) keep_larger(static_cast<Acc>(from[k]), position, best[k], where[k]);
    });
    const int64_t at = window.y_at(image, i, j) + begin;
    for (int64_t k = 0; k < count; ++k) y[at + k] = static_cast<T>(best[k]);
    if (index != nullptr)
      for (int64_t k = 0; k < count; ++k) index[at + k] = static_cast<Index>(where[k]);
  }
}

}  // namespace

std::vector<Spec> MaxPool2dOp::infer(std::span<const Spec> in) const {
  if (!is_floating(in[0].dtype)) throw_not_floating(name(), in[0].dtype);
  const Shape out = window(in[0].shape).out();
  if (!with_index_) return {{in[0].dtype, out}};
  return {{in[0].dtype, out}, {index_dtype(options_.kernel), out}};
}

std::vector<Tensor> MaxPool2dOp::grad(const Node& node, std::span<const Tensor> dy) const {
  if (!dy[0].defined()) return {Tensor{}};
  const Spec& x = node.input_spec(0);
  return {apply_one(std::make_shared<MaxPool2dGrad>(window(x.shape), x.dtype), {dy[0], node.output(1)})};
}

void MaxPool2dOp::run_cpu(Launch& launch) const {
  const Window w = window(launch.in[0].shape());
  if (in_fours(w, launch.in[0].dtype())) {
    const float* x = launch.in[0].data<float>();
    float* y = launch.out[0].data<float>();
    uint8_t* index = with_index_ ? launch.out[1].data<uint8_t>() : nullptr;
    return for_window_rows(launch.context, w, [&](int64_t image, int64_t i) {
      const int64_t at = w.y_at(image, i, 0);
      max_of_four_row(x + w.x_at(image, 2 * i, 0), x + w.x_at(image, 2 * i + 1, 0), w.q, w.c, y + at, index ? index + at : nullptr);
    });
  }
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* x = launch.in[0].data<T>();
    T* y = launch.out[0].data<T>();
    dispatch_index(options_.kernel, [&](auto n) {
      using Index = decltype(n);
      Index* index = with_index_ ? launch.out[1].data<Index>() : nullptr;
      for_output_pixels(launch.context, w, [&](int64_t image, int64_t i, int64_t j) { max_of_window(w, image, i, j, x, y, index); });
    });
  });
}

void MaxPool2dGrad::run_cpu(Launch& launch) const {
  const Window& w = window_;
  if (in_fours(w, dtype_) && w.h == 2 * w.p && w.w == 2 * w.q) {  // every pixel has its window
    const float* dy = launch.in[0].data<float>();
    const uint8_t* index = launch.in[1].data<uint8_t>();
    float* dx = launch.out[0].data<float>();
    return for_window_rows(launch.context, w, [&](int64_t image, int64_t i) {
      const int64_t at = w.y_at(image, i, 0);
      spread_to_four_row(dy + at, index + at, w.q, w.c, dx + w.x_at(image, 2 * i, 0), dx + w.x_at(image, 2 * i + 1, 0));
    });
  }
  dispatch_floating(name(), dtype_, [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    const T* dy = launch.in[0].data<T>();
    T* dx = launch.out[0].data<T>();
    dispatch_index(w.kernel, [&](auto n) {
      using Index = decltype(n);
      const Index* index = launch.in[1].data<Index>();
      // Windows may overlap, so a picture belongs to one thread, and its windows add in their order.
      launch.context.pool().parallel_for(w.n, [&](int64_t image) {
        std::fill(dx + w.x_at(image, 0, 0), dx + w.x_at(image + 1, 0, 0), T{});
        for (int64_t i = 0; i < w.p; ++i) {
          for (int64_t j = 0; j < w.q; ++j) {
            const int64_t at = w.y_at(image, i, j);
            const Index* chosen = index + at;
            const T* g = dy + at;
            for_window(w, i, j, [&](int64_t r, int64_t s) {
              T* to = dx + w.x_at(image, r, s);
              const int32_t position = static_cast<int32_t>(w.position(i, j, r, s));
              TERN_INDEPENDENT
              for (int64_t c = 0; c < w.c; ++c)
                to[c] = static_cast<T>(static_cast<Acc>(to[c]) +
                                       (static_cast<int32_t>(chosen[c]) == position ? static_cast<Acc>(g[c]) : Acc{0}));
            });
          }
        }
      });
    });
  });
}

Tensor max_pool2d(const Tensor& x, MaxPool2d options) {
  const bool with_index = x.defined() && x.requires_grad() && x.context().grad_enabled();
  return apply_one(std::make_shared<MaxPool2dOp>(options, with_index), {x});
}

}  // namespace tern
