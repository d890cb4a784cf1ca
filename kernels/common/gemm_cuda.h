#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/context.h"
#include "core/dtype.h"
#include "core/op.h"

/// Matrix products on a GPU through cuBLASLt. Reads and writes of the same problem give the same bits in every run: no
/// algorithm that adds in an order of chance is taken.
namespace tern::cuda {

/// c = op(a) op(b) [+ bias] for each of `batch` matrices, all row-major and dense; op(a) is [m,k], op(b) is [k,n]. The
/// matrices of a batch lie `stride_*` elements apart, 0 where all share one (not c's).
struct Product {
  DType dtype = DType::f32;   ///< of a, b and bias: a floating type; sums are kept in f32 (f64 for f64)
  DType result = DType::f32;  ///< of c: dtype, or f32 where that is a 16-bit type
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false;   ///< a is [k,m]
  bool transpose_b = false;   ///< b is [n,k]
  bool accumulate = false;    ///< c += instead of c =; not with a bias
  int64_t batch = 1;
  int64_t stride_a = 0, stride_b = 0, stride_c = 0;

  bool operator==(const Product&) const = default;
};

/// Bytes of an op's workspace that gemm() wants, for every product alike.
size_t gemm_workspace();

/// Queues the product. `bias` [n] or null. f32 operands are rounded to TF32 only with Context::Options::tf32. `op` is
/// named in errors: DeviceError when cuBLASLt has no algorithm or reports a failure. The first product of a kind asks
/// cuBLASLt for an algorithm, which is kept in the context.
void gemm(Context& context, std::string_view op, const Product& product, const void* a, const void* b, const void* bias,
          void* c, std::span<std::byte> workspace);

// gemm_rows.cu
/// Every row of c [rows,width] becomes `row` [width], of the same dtype.
void fill_rows(Context& context, std::string_view op, DType dtype, const void* row, void* c, int64_t rows, int64_t width);
/// to[i] = from[i] rounded to the 16-bit `dtype`.
void narrow_array(Context& context, std::string_view op, DType dtype, const float* from, void* to, int64_t count);

// gemm_cuda.cpp
/// The ops that are one product each; their arguments are checked by their infer().
void linear(Launch& launch);
void linear_wgrad(Launch& launch);

}  // namespace tern::cuda
