#include <cublas_v2.h>

#include "bench/gpu_timer.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/runtime_cuda.h"

namespace tern::bench {
namespace {

void check_cublas(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) throw DeviceError("[bench] cuBLAS: " + std::string(cublasGetStatusString(status)));
}

/// Random values in [-1, 1): a block of them over and over. Zeros would be multiplied faster.
Tensor random_tensor(Context& context, const Shape& shape, DType dtype) {
  const Tensor tensor = Tensor::empty(context, shape, dtype);
  dispatch_floating("bench", dtype, [&](auto t) {
    using T = decltype(t);
    std::vector<T> values(static_cast<size_t>(shape.numel()));
    constexpr size_t kBlock = size_t{1} << 20;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = i < kBlock ? T(static_cast<float>(random4({1, 2, i, 3}).v[0]) * 0x1p-31f - 1) : values[i % kBlock];
    tensor.write(std::span<const T>(values));
  });
  return tensor;
}

class Products {
 public:
  Products(Context& context, GpuTimer& timer, int extent) : context_(context), timer_(timer), extent_(extent) {
    check_cublas(cublasCreate(&handle_));
  }
  ~Products() { cublasDestroy(handle_); }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  double gflops(DType dtype, cudaDataType type, cublasComputeType_t compute) {
    const Shape shape{extent_, extent_};
    const Tensor a = random_tensor(context_, shape, dtype), b = random_tensor(context_, shape, dtype);
    const Tensor c = Tensor::empty(context_, shape, dtype);
    const float one = 1, zero = 0;
    check_cublas(cublasSetStream(handle_, cuda_runtime(context_).stream()));
    const auto times = timer_.time(
        [&] {
          check_cublas(cublasGemmEx(handle_, CUBLAS_OP_N, CUBLAS_OP_N, extent_, extent_, extent_, &one, a.raw(), type, extent_,
                                    b.raw(), type, extent_, &zero, c.raw(), type, extent_, compute, CUBLAS_GEMM_DEFAULT));
        },
        0.1, GpuTimer::Cache::warm);
    const double extent = extent_;
    return 2e-9 * extent * extent * extent / times.median;
  }

 private:
  Context& context_;
  GpuTimer& timer_;
  int extent_;
  cublasHandle_t handle_ = nullptr;
};

}  // namespace

GpuPeaks measure_gpu_peaks(Context& context, const GpuPeakSizes& sizes) {
  GpuTimer timer(context);
  GpuPeaks peaks;
  {
    const Tensor from = random_tensor(context, {sizes.copied}, DType::f32);
    const Tensor to = Tensor::empty(context, from.shape(), DType::f32);
    const auto rate = [&](const std::function<void()>& copy) {
      return 2e-9 * static_cast<double>(from.bytes()) / timer.time(copy, 0.1, GpuTimer::Cache::warm).median;
    };
    peaks.kernel_copy_gbps = rate([&] { queue_copy(context, to.raw(), from.raw(), from.bytes()); });
    peaks.memcpy_gbps = rate([&] { context.runtime().copy(to.raw(), from.raw(), from.bytes()); });
  }
  Products products(context, timer, sizes.extent);
  peaks.f32_gflops = products.gflops(DType::f32, CUDA_R_32F, CUBLAS_COMPUTE_32F);
  peaks.tf32_gflops = products.gflops(DType::f32, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32);
  peaks.f16_gflops = products.gflops(DType::f16, CUDA_R_16F, CUBLAS_COMPUTE_32F);
  peaks.bf16_gflops = products.gflops(DType::bf16, CUDA_R_16BF, CUBLAS_COMPUTE_32F);
  context.allocator().trim();
  return peaks;
}

}  // namespace tern::bench
