#include <algorithm>

#include "kernels/common/gemm_cuda.h"
#include "kernels/common/scratch.h"
#include "kernels/matmul/batches.h"
#include "kernels/matmul/matmul.h"

namespace tern::cuda {
namespace {

bool is_16bit(DType dtype) { return size_of(dtype) == 2; }

/// Sums of several 16-bit products are kept in f32 until the last one.
bool sums_wide(DType dtype, const MatMulBatches& batches) { return is_16bit(dtype) && batches.summed.numel() > 1; }

/// Results from `begin` on, at most `limit`, whose operands lie at equal distances: one strided call.
struct Run {
  int64_t count = 1, step_a = 0, step_b = 0;  ///< steps in matrices
};
Run run_at(const MatMulBatches& batches, int64_t term, int64_t begin, int64_t limit) {
  Run run;
  const int64_t a = batches.a_at(begin, term), b = batches.b_at(begin, term);
  if (begin + 1 == limit) return run;
  run.step_a = batches.a_at(begin + 1, term) - a;
  run.step_b = batches.b_at(begin + 1, term) - b;
  if (run.step_a < 0 || run.step_b < 0) return {};
  while (begin + run.count < limit && batches.a_at(begin + run.count, term) == a + run.count * run.step_a &&
         batches.b_at(begin + run.count, term) == b + run.count * run.step_b)
    ++run.count;
  return run;
}

}  // namespace

size_t matmul_workspace(const Spec& y, const MatMulBatches& batches) {
  return gemm_workspace() + (sums_wide(y.dtype, batches) ? scratch_bytes<float>(y.numel()) : 0);
}

void matmul(Launch& launch, MatMul options, const MatMulBatches& batches) {
  const Tensor &a = launch.in[0], &b = launch.in[1], &y = launch.out[0];
  const bool wide = sums_wide(y.dtype(), batches);
  Product product{.dtype = a.dtype(),
                  .result = wide ? DType::f32 : y.dtype(),
                  .m = y.size(-2),
                  .n = y.size(-1),
                  .k = a.size(options.transpose_a ? -2 : -1),
                  .transpose_a = options.transpose_a,
                  .transpose_b = options.transpose_b,
                  .stride_c = y.size(-2) * y.size(-1)};
  Scratch scratch(launch.workspace);
  const std::span<std::byte> workspace = launch.workspace.first(gemm_workspace());
  scratch.take<std::byte>(static_cast<int64_t>(gemm_workspace()));
  float* sums = wide ? scratch.take<float>(y.numel()) : nullptr;
  const auto at = [](const void* matrices, int64_t index, int64_t elements, DType dtype) {
    return static_cast<const std::byte*>(matrices) + index * elements * static_cast<int64_t>(size_of(dtype));
  };
  void* result = wide ? static_cast<void*>(sums) : y.raw();
  const int64_t targets = batches.kept.numel(), elements_a = product.m * product.k, elements_b = product.k * product.n;
  for (int64_t term = 0; term < batches.summed.numel(); ++term, product.accumulate = true) {
    for (int64_t begin = 0; begin < targets; begin += product.batch) {
      const Run run = run_at(batches, term, begin, targets);
      product.batch = run.count;
      product.stride_a = run.step_a * elements_a;
      product.stride_b = run.step_b * elements_b;
      gemm(launch.context, "matmul", product, at(a.raw(), batches.a_at(begin, term), elements_a, a.dtype()),
           at(b.raw(), batches.b_at(begin, term), elements_b, b.dtype()), nullptr,
           const_cast<std::byte*>(at(result, begin, product.stride_c, product.result)), workspace);
    }
  }
  if (wide) narrow_array(launch.context, "matmul", y.dtype(), sums, y.raw(), y.numel());
}

}  // namespace tern::cuda
