#pragma once
#include <cublas_v2.h>

namespace tern::emulation {

/// Matrices on the device, one behind the other: element (i, j) of number b is data[i*row + j*column + b*batch].
struct Matrices {
  const void* data;
  cudaDataType type;
  int64_t rows, columns;
  int64_t row, column, batch;  ///< strides in elements
  Matrices transposed() const { return {data, type, columns, rows, column, row, batch}; }
};

/// d = act(alpha * a b + beta * c + bias of its row), `count` times.
struct Product {
  Matrices a, b, c, d;
  double alpha, beta;
  int64_t count = 1;
  const void* bias = nullptr;
  cudaDataType bias_type = CUDA_R_32F;
  bool relu = false;  ///< NaN becomes 0, as max(x, 0) has it on the GPU
};

/// Runs or records the product. Element types must be such that cuBLAS computes them.
cublasStatus_t enqueue_product(cudaStream_t stream, const Product& product, cublasComputeType_t compute);

/// A factor where alpha and beta lie on the host.
double read_factor(const void* factor, cublasComputeType_t compute);

}  // namespace tern::emulation
