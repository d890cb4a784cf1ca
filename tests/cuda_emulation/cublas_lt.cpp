#include <cublasLt.h>

#include <cstring>

#include "tests/cuda_emulation/products.h"

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  cublasOperation_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int bias_type = -1;  ///< -1: that of d
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  int64_t rows, columns, ld;
  cublasLtOrder_t order = CUBLASLT_ORDER_COL;
  int32_t count = 1;
  int64_t batch = 0;
};
struct cublasLtMatmulPreferenceOpaque_t {};

using namespace tern::emulation;

namespace {

template <class T>
cublasStatus_t set(T& member, const void* value, size_t size) {
  if (size != sizeof member) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&member, value, size);
  return CUBLAS_STATUS_SUCCESS;
}

bool is_valid(const cublasLtMatrixLayoutOpaque_t& layout) {
  return layout.ld >= (layout.order == CUBLASLT_ORDER_COL ? layout.rows : layout.columns);
}

Matrices matrices(const void* data, const cublasLtMatrixLayoutOpaque_t& l, cublasOperation_t operation = CUBLAS_OP_N) {
  const bool by_column = l.order == CUBLASLT_ORDER_COL;
  const Matrices plain{data, l.type, l.rows, l.columns, by_column ? 1 : l.ld, by_column ? l.ld : 1, l.batch};
  return operation == CUBLAS_OP_N ? plain : plain.transposed();
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return *handle = new cublasLtContext, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return delete handle, CUBLAS_STATUS_SUCCESS; }
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  const bool f64 = compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
  if (scale != (f64 ? CUDA_R_64F : CUDA_R_32F)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = new cublasLtMatmulDescOpaque_t{.compute = compute};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return delete desc, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(desc->transa, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(desc->transb, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(desc->epilogue, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(desc->bias, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(desc->bias_type, value, size);
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t cols,
                                          int64_t ld) {
  *layout = new cublasLtMatrixLayoutOpaque_t{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return delete layout, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t size) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return set(layout->order, value, size);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(layout->count, value, size);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(layout->batch, value, size);
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return *preference = new cublasLtMatmulPreferenceOpaque_t, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return delete preference, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t,
                                                    const void*, size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = wanted > 0 ? 1 : 0;
  if (wanted > 0) results[0] = {};
  return wanted > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t layout_a, const void* b, cublasLtMatrixLayout_t layout_b,
                              const void* beta, const void* c, cublasLtMatrixLayout_t layout_c, void* d,
                              cublasLtMatrixLayout_t layout_d, const cublasLtMatmulAlgo_t*, void*, size_t,
                              cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  for (const auto* layout : {layout_a, layout_b, layout_c, layout_d})
    if (!is_valid(*layout) || layout->count != layout_d->count) return CUBLAS_STATUS_INVALID_VALUE;
  const bool wants_bias = desc->epilogue & CUBLASLT_EPILOGUE_BIAS;
  if (wants_bias && !desc->bias) return CUBLAS_STATUS_INVALID_VALUE;
  // On the GPU a bias runs along d's contiguous axis only.
  if (wants_bias && layout_d->order != CUBLASLT_ORDER_COL) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto bias_type = desc->bias_type < 0 ? layout_d->type : static_cast<cudaDataType>(desc->bias_type);
  return enqueue_product(stream,
                         {.a = matrices(a, *layout_a, desc->transa),
                          .b = matrices(b, *layout_b, desc->transb),
                          .c = matrices(c, *layout_c),
                          .d = matrices(d, *layout_d),
                          .alpha = read_factor(alpha, desc->compute),
                          .beta = read_factor(beta, desc->compute),
                          .count = layout_d->count,
                          .bias = wants_bias ? desc->bias : nullptr,
                          .bias_type = bias_type,
                          .relu = (desc->epilogue & CUBLASLT_EPILOGUE_RELU) != 0},
                         desc->compute);
}
