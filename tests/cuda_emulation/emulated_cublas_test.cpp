/// The stand-in for cuBLAS against sums by hand.
#include <cublasLt.h>

#include <cmath>
#include <vector>

#include "tests/catch.h"

namespace {

/// n floats on the device.
struct Floats {
  float* data = nullptr;
  size_t n;
  explicit Floats(const std::vector<float>& values) : n(values.size()) {
    REQUIRE(cudaMalloc(&data, n * 4) == cudaSuccess);
    REQUIRE(cudaMemcpy(data, values.data(), n * 4, cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~Floats() { cudaFree(data); }
  Floats(const Floats&) = delete;
  std::vector<float> values() const {
    std::vector<float> values(n);
    REQUIRE(cudaMemcpy(values.data(), data, n * 4, cudaMemcpyDeviceToHost) == cudaSuccess);
    return values;
  }
};

const float kOne = 1, kZero = 0, kHalf = 0.5f;

}  // namespace

TEST_CASE("emulated cuBLAS: a column-major product with transposes, factors and batches", "[emulation]") {
  // a = [1 3 5; 2 4 6] (2x3), b = [1 0; 0 1; 1 1] (3x2), a b = [6 8; 8 10].
  const Floats a({1, 2, 3, 4, 5, 6}), b({1, 0, 1, 0, 1, 1}), bt({1, 0, 0, 1, 1, 1}), c({NAN, NAN, NAN, NAN}), d({1, 1, 1, 1});
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  const auto gemm = [&](cublasOperation_t tb, const Floats& right, int ldb, const float& alpha, const float& beta,
                        const Floats& out, cudaDataType type) {
    return cublasGemmEx(handle, CUBLAS_OP_N, tb, 2, 2, 3, &alpha, a.data, CUDA_R_32F, 2, right.data, CUDA_R_32F, ldb, &beta,
                        out.data, type, 2, CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_GEMM_DEFAULT);
  };
  CHECK(gemm(CUBLAS_OP_N, b, 3, kOne, kZero, c, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.values() == std::vector<float>{6, 8, 8, 10});
  CHECK(gemm(CUBLAS_OP_T, bt, 2, kHalf, kOne, d, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  CHECK(d.values() == std::vector<float>{4, 5, 5, 6});
  CHECK(gemm(CUBLAS_OP_N, b, 2, kOne, kZero, c, CUDA_R_32F) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(gemm(CUBLAS_OP_N, b, 3, kOne, kZero, c, CUDA_R_16F) == CUBLAS_STATUS_NOT_SUPPORTED);

  const Floats squares({0, 0, 0});  // 1x1 batches: 1*1, 2*2, 3*3
  CHECK(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &kOne, a.data, CUDA_R_32F, 1, 1, a.data,
                                   CUDA_R_32F, 1, 1, &kZero, squares.data, CUDA_R_32F, 1, 1, 3, CUBLAS_COMPUTE_32F,
                                   CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  CHECK(squares.values() == std::vector<float>{1, 4, 9});
  cublasDestroy(handle);
}

TEST_CASE("emulated cuBLASLt: bias, ReLU and row order", "[emulation]") {
  const Floats a({1, 2, 3, 4, 5, 6}), b({1, 0, 1, 0, 1, 1}), bias({-7, 1}), d({0, 0, 0, 0});
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t la = nullptr, lb = nullptr, ld = nullptr;
  REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, 2, 3, 2);
  cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, 3, 2, 3);
  cublasLtMatrixLayoutCreate(&ld, CUDA_R_32F, 2, 2, 2);
  const auto matmul = [&] {
    return cublasLtMatmul(handle, desc, &kOne, a.data, la, b.data, lb, &kZero, d.data, ld, d.data, ld, nullptr, nullptr, 0,
                          nullptr);
  };
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
  cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
  CHECK(matmul() == CUBLAS_STATUS_INVALID_VALUE);  // no bias yet
  cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.data, sizeof bias.data);
  CHECK(matmul() == CUBLAS_STATUS_SUCCESS);
  CHECK(d.values() == std::vector<float>{0, 9, 1, 11});

  const cublasLtOrder_t row = CUBLASLT_ORDER_ROW;  // a = [1 2 3; 4 5 6]
  const int64_t wrong_ld = 2;
  cublasLtMatrixLayoutSetAttribute(la, CUBLASLT_MATRIX_LAYOUT_ORDER, &row, sizeof row);
  CHECK(matmul() == CUBLAS_STATUS_INVALID_VALUE);
  cublasLtMatrixLayoutDestroy(la);
  cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, 2, 3, 3);
  cublasLtMatrixLayoutSetAttribute(la, CUBLASLT_MATRIX_LAYOUT_ORDER, &row, sizeof row);
  CHECK(matmul() == CUBLAS_STATUS_SUCCESS);
  CHECK(d.values() == std::vector<float>{0, 11, 0, 12});
  CHECK(cublasLtMatrixLayoutSetAttribute(la, CUBLASLT_MATRIX_LAYOUT_ORDER, &wrong_ld, sizeof wrong_ld) ==
        CUBLAS_STATUS_INVALID_VALUE);
  for (const auto layout : {la, lb, ld}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(desc);
  cublasLtDestroy(handle);
}
