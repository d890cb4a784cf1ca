#include <cublas_v2.h>

#include <vector>

#include "core/dtype.h"
#include "tests/cuda_emulation/launch.h"
#include "tests/cuda_emulation/products.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace tern::emulation {
namespace {

double read(const void* data, cudaDataType type, int64_t i) {
  switch (type) {
    case CUDA_R_64F: return static_cast<const double*>(data)[i];
    case CUDA_R_16F: return static_cast<float>(static_cast<const Half*>(data)[i]);
    case CUDA_R_16BF: return static_cast<float>(static_cast<const BFloat16*>(data)[i]);
    default: return static_cast<const float*>(data)[i];
  }
}

void write(void* data, cudaDataType type, int64_t i, double value) {
  switch (type) {
    case CUDA_R_64F: static_cast<double*>(data)[i] = value; break;
    case CUDA_R_16F: static_cast<Half*>(data)[i] = Half(static_cast<float>(value)); break;
    case CUDA_R_16BF: static_cast<BFloat16*>(data)[i] = BFloat16(static_cast<float>(value)); break;
    default: static_cast<float*>(data)[i] = static_cast<float>(value);
  }
}

bool is_f64(cublasComputeType_t compute) {
  return compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
}

bool types_fit(const Product& p, cublasComputeType_t compute) {
  const cudaDataType in = p.a.type, out = p.d.type;
  if (p.b.type != in || p.c.type != out || compute == CUBLAS_COMPUTE_16F) return false;
  if (is_f64(compute)) return in == CUDA_R_64F && out == CUDA_R_64F;
  if (in == CUDA_R_16F || in == CUDA_R_16BF) return out == in || out == CUDA_R_32F;
  return in == CUDA_R_32F && out == CUDA_R_32F;
}

bool shapes_fit(const Product& p) {
  return p.a.rows == p.d.rows && p.a.columns == p.b.rows && p.b.columns == p.d.columns && p.c.rows == p.d.rows &&
         p.c.columns == p.d.columns;
}

/// The elements of one matrix, row after row.
std::vector<double> elements(const Matrices& m, int64_t number) {
  std::vector<double> values;
  values.reserve(static_cast<size_t>(m.rows * m.columns));
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.columns; ++j)
      values.push_back(read(m.data, m.type, i * m.row + j * m.column + number * m.batch));
  return values;
}

void multiply(const Product& p, int64_t number) {
  const std::vector<double> a = elements(p.a, number), b = elements(p.b.transposed(), number);
  const int64_t depth = p.a.columns;
  for (int64_t i = 0; i < p.d.rows; ++i) {
    for (int64_t j = 0; j < p.d.columns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += a[static_cast<size_t>(i * depth + k)] * b[static_cast<size_t>(j * depth + k)];
      sum *= p.alpha;
      // With beta = 0, c is not read: it may hold NaN.
      if (p.beta != 0) sum += p.beta * read(p.c.data, p.c.type, i * p.c.row + j * p.c.column + number * p.c.batch);
      if (p.bias) sum += read(p.bias, p.bias_type, i);
      if (p.relu) sum = sum > 0 ? sum : 0;
      write(const_cast<void*>(p.d.data), p.d.type, i * p.d.row + j * p.d.column + number * p.d.batch, sum);
    }
  }
}

}  // namespace

double read_factor(const void* factor, cublasComputeType_t compute) {
  return is_f64(compute) ? *static_cast<const double*>(factor) : *static_cast<const float*>(factor);
}

cublasStatus_t enqueue_product(cudaStream_t stream, const Product& product, cublasComputeType_t compute) {
  if (!types_fit(product, compute)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!shapes_fit(product)) return CUBLAS_STATUS_INVALID_VALUE;
  const cudaError_t error = enqueue(stream, [product] {
    for (int64_t number = 0; number < product.count; ++number) multiply(product, number);
    return cudaSuccess;
  });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace tern::emulation

using namespace tern::emulation;

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "an unknown cuBLAS status";
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

cublasStatus_t cublasCreate(cublasHandle_t* handle) { return *handle = new cublasContext, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasDestroy(cublasHandle_t handle) { return delete handle, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGetVersion(cublasHandle_t, int* version) { return *version = CUBLAS_VERSION, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  return handle->stream = stream, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t* stream) {
  return *stream = handle->stream, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetPointerMode(cublasHandle_t, cublasPointerMode_t mode) {
  return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                                          int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda,
                                          long long stride_a, const void* b, cudaDataType type_b, int ldb,
                                          long long stride_b, const void* beta, void* c, cudaDataType type_c, int ldc,
                                          long long stride_c, int count, cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool ta = transa != CUBLAS_OP_N, tb = transb != CUBLAS_OP_N;
  if (m < 0 || n < 0 || k < 0 || count < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m)
    return CUBLAS_STATUS_INVALID_VALUE;
  const Matrices plain_a{a, type_a, ta ? k : m, ta ? m : k, 1, lda, stride_a};
  const Matrices plain_b{b, type_b, tb ? n : k, tb ? k : n, 1, ldb, stride_b};
  const Matrices out{c, type_c, m, n, 1, ldc, stride_c};
  return enqueue_product(handle->stream,
                         {.a = ta ? plain_a.transposed() : plain_a, .b = tb ? plain_b.transposed() : plain_b, .c = out,
                          .d = out, .alpha = read_factor(alpha, compute), .beta = read_factor(beta, compute),
                          .count = count},
                         compute);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType type_a, int lda, const void* b,
                            cudaDataType type_b, int ldb, const void* beta, void* c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta, c,
                                    type_c, ldc, 0, 1, compute, algorithm);
}
