#include "core/launch.cuh"
#include "kernels/common/gemm_cuda.h"

namespace tern::cuda {
namespace {

/// A thread writes every grid_step()-th element of c.
template <class T>
__global__ void fill_rows_kernel(const T* row, T* c, int64_t count, int64_t width) {
  for (int64_t i = first_index(); i < count; i += grid_step()) c[i] = row[i % width];
}

template <class T>
__global__ void narrow_kernel(const float* from, T* to, int64_t count) {
  for (int64_t i = first_index(); i < count; i += grid_step()) to[i] = narrow<T>(from[i]);
}

}  // namespace

void fill_rows(Context& context, std::string_view op, DType dtype, const void* row, void* c, int64_t rows,
               int64_t width) {
  dispatch_floating(op, dtype, [&](auto t) {
    using T = decltype(t);
    const int64_t count = rows * width;
    launch(context, op, fill_rows_kernel<T>, blocks_for(context, count), kThreads, static_cast<const T*>(row),
           static_cast<T*>(c), count, width);
  });
}

void narrow_array(Context& context, std::string_view op, DType dtype, const float* from, void* to, int64_t count) {
  const auto run = [&](auto* typed) {
    using T = std::remove_pointer_t<decltype(typed)>;
    launch(context, op, narrow_kernel<T>, blocks_for(context, count), kThreads, from, typed, count);
  };
  if (dtype == DType::f16) return run(static_cast<Half*>(to));
  if (dtype == DType::bf16) return run(static_cast<BFloat16*>(to));
  throw_dtype(op, "rounds to f16 or bf16, not to " + std::string(name_of(dtype)));
}

}  // namespace tern::cuda
