#include "kernels/common/gemm_cuda.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/runtime_cuda.h"

namespace tern::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what cuBLAS itself takes on Hopper
constexpr size_t kWorkspaceAlignment = 256;
constexpr int64_t kLargestBatch = 65535;  // what the third axis of a grid can count

void check(cublasStatus_t status, std::string_view op, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError("[" + std::string(op) + "] " + call + ": " + cublasLtGetStatusName(status) + ": " +
                      cublasLtGetStatusString(status));
}

/// Owns what a cublasLt*Create call made.
template <class T, cublasStatus_t (*destroy)(T)>
class Handle {
 public:
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (value_) destroy(value_);
  }
  T* slot() { return &value_; }
  operator T() const { return value_; }

 private:
  T value_ = nullptr;
};
using Library = Handle<cublasLtHandle_t, cublasLtDestroy>;
using Operation = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType type_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return CUDA_R_64F;
    case DType::f16: return CUDA_R_16F;
    case DType::bf16: return CUDA_R_16BF;
    default: return CUDA_R_32F;
  }
}

/// What an algorithm is chosen for. `aligned`: all pointers are multiples of 16 bytes, else of an element.
struct Problem {
  Product product;
  bool bias = false;
  bool aligned = true;

  auto fields() const {
    const Product& p = product;
    return std::tuple(p.dtype, p.result, p.m, p.n, p.k, p.transpose_a, p.transpose_b, p.accumulate, p.batch, p.stride_a,
                      p.stride_b, p.stride_c, bias, aligned);
  }
  bool operator<(const Problem& other) const { return fields() < other.fields(); }
};

/// A problem with its descriptors and its algorithm. cuBLASLt counts in columns: it is told of the transposed product
/// c^T = op(b)^T op(a)^T, whose operands are our b and a as they lie in memory.
struct Plan {
  Operation operation;
  Layout first, second, result;
  cublasLtMatmulAlgo_t algorithm;
  bool found = false;
};

class Products {
 public:
  explicit Products(Context& context) : tf32_(context.options().tf32) {
    check(cublasLtCreate(library_.slot()), "gemm", "cublasLtCreate");
  }

  cublasLtHandle_t library() const { return library_; }

  /// `bias` stands for any bias of the same alignment.
  Plan& plan(std::string_view op, const Problem& problem, const void* bias) {
    std::unique_ptr<Plan>& plan = plans_[problem];
    if (!plan) {
      auto made = std::make_unique<Plan>();
      describe(op, problem, bias, *made);
      choose(op, problem, *made);
      plan = std::move(made);
    }
    return *plan;
  }

 private:
  void describe(std::string_view op, const Problem& problem, const void* bias, Plan& plan) const {
    const Product& p = problem.product;
    const bool f64 = p.dtype == DType::f64;
    const cublasComputeType_t compute =
        f64 ? CUBLAS_COMPUTE_64F : (p.dtype == DType::f32 && tf32_ ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F);
    check(cublasLtMatmulDescCreate(plan.operation.slot(), compute, f64 ? CUDA_R_64F : CUDA_R_32F), op,
          "cublasLtMatmulDescCreate");
    const auto set = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
      check(cublasLtMatmulDescSetAttribute(plan.operation, name, &value, sizeof(value)), op,
            "cublasLtMatmulDescSetAttribute");
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    if (problem.bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(CUBLASLT_EPILOGUE_BIAS));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);  // the heuristic reads its alignment
    }
    describe_matrix(op, plan.first, p.dtype, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.batch, p.stride_b);
    describe_matrix(op, plan.second, p.dtype, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.batch,
                    p.stride_a);
    describe_matrix(op, plan.result, p.result, p.n, p.m, p.batch, p.stride_c);
  }

  /// `rows` is the extent that is contiguous in memory.
  static void describe_matrix(std::string_view op, Layout& layout, DType dtype, int64_t rows, int64_t columns,
                              int64_t batch, int64_t stride) {
    check(cublasLtMatrixLayoutCreate(layout.slot(), type_of(dtype), static_cast<uint64_t>(rows),
                                     static_cast<uint64_t>(columns), rows),
          op, "cublasLtMatrixLayoutCreate");
    if (batch == 1) return;
    const auto set = [&](cublasLtMatrixLayoutAttribute_t name, const auto& value) {
      check(cublasLtMatrixLayoutSetAttribute(layout, name, &value, sizeof(value)), op,
            "cublasLtMatrixLayoutSetAttribute");
    };
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<int32_t>(batch));
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
  }

  void choose(std::string_view op, const Problem& problem, Plan& plan) const {
    Preference preference;
    check(cublasLtMatmulPreferenceCreate(preference.slot()), op, "cublasLtMatmulPreferenceCreate");
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof(value)), op,
            "cublasLtMatmulPreferenceSetAttribute");
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
    // Where a product is split along k, the parts are added in a step of their own, in the type of the sums: the other
    // schemes round them to the output's type, and INPLACE ties the sum to the order of blocks.
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    const Product& p = problem.product;
    const auto bytes = [&](DType dtype) { return static_cast<uint32_t>(problem.aligned ? 16 : size_of(dtype)); };
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes(p.dtype));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes(p.dtype));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes(p.result));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes(p.result));
    cublasLtMatmulHeuristicResult_t result = {};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        library_, plan.operation, plan.first, plan.second, plan.result, plan.result, preference, 1, &result, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return;
    check(status, op, "cublasLtMatmulAlgoGetHeuristic");
    plan.found = count > 0 && result.state == CUBLAS_STATUS_SUCCESS;
    plan.algorithm = result.algo;
  }

  bool tf32_;
  Library library_;
  std::map<Problem, std::unique_ptr<Plan>> plans_;
};

std::string text_of(const Product& p) {
  return std::string(name_of(p.dtype)) + " [" + std::to_string(p.m) + "," + std::to_string(p.k) + "]x[" +
         std::to_string(p.k) + "," + std::to_string(p.n) + "], batch " + std::to_string(p.batch);
}

bool aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

void multiply(Context& context, std::string_view op, const Problem& problem, Plan& plan, const void* a, const void* b,
              const void* bias, void* c, std::span<std::byte> workspace) {
  if (problem.bias)
    check(cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)), op,
          "cublasLtMatmulDescSetAttribute");
  const bool f64 = problem.product.dtype == DType::f64;
  const double one64 = 1, old64 = problem.product.accumulate ? 1 : 0;
  const float one32 = 1, old32 = problem.product.accumulate ? 1 : 0;
  const void* one = f64 ? static_cast<const void*>(&one64) : &one32;
  const void* old = f64 ? static_cast<const void*>(&old64) : &old32;
  const auto address = reinterpret_cast<uintptr_t>(workspace.data());
  std::byte* scratch = workspace.data() + (kWorkspaceAlignment - address % kWorkspaceAlignment) % kWorkspaceAlignment;
  check(cublasLtMatmul(context.extension<Products>().library(), plan.operation, one, b, plan.first, a, plan.second, old,
                       c, plan.result, c, plan.result, &plan.algorithm, scratch, kWorkspaceBytes,
                       cuda_runtime(context).stream()),
        op, "cublasLtMatmul");
}

}  // namespace

size_t gemm_workspace() { return kWorkspaceBytes + kWorkspaceAlignment; }

void gemm(Context& context, std::string_view op, const Product& product, const void* a, const void* b, const void* bias,
          void* c, std::span<std::byte> workspace) {
  if (product.batch > kLargestBatch) {
    Product part = product;
    for (int64_t begin = 0; begin < product.batch; begin += kLargestBatch) {
      part.batch = std::min(kLargestBatch, product.batch - begin);
      const auto at = [&](const void* from, int64_t stride, DType dtype) {
        return static_cast<const std::byte*>(from) + begin * stride * static_cast<int64_t>(size_of(dtype));
      };
      gemm(context, op, part, at(a, product.stride_a, product.dtype), at(b, product.stride_b, product.dtype), bias,
           const_cast<std::byte*>(at(c, product.stride_c, product.result)), workspace);
    }
    return;
  }
  Problem problem{product, bias != nullptr, aligned16(a) && aligned16(b) && aligned16(c) && aligned16(bias)};
  Products& products = context.extension<Products>();
  // The bias epilogue is not there for f64, nor for every type and alignment: the bias may be put in place before.
  if (problem.bias && product.dtype != DType::f64) {
    Plan& plan = products.plan(op, problem, bias);
    if (plan.found) return multiply(context, op, problem, plan, a, b, bias, c, workspace);
  }
  if (problem.bias) {
    for (int64_t i = 0; i < product.batch; ++i)
      fill_rows(context, op, product.dtype, bias,
                static_cast<std::byte*>(c) + i * product.stride_c * static_cast<int64_t>(size_of(product.result)),
                product.m, product.n);
    problem.bias = false;
    problem.product.accumulate = true;
  }
  Plan& plan = products.plan(op, problem, nullptr);
  if (!plan.found)
    throw DeviceError("[" + std::string(op) + "] cuBLASLt " + std::to_string(cublasLtGetVersion()) +
                      " has no algorithm for " + text_of(product));
  multiply(context, op, problem, plan, a, b, nullptr, c, workspace);
}

void linear(Launch& launch) {
  const Tensor &x = launch.in[0], &w = launch.in[1];
  const int64_t width = w.size(1);
  const Product product{
      .dtype = x.dtype(), .result = x.dtype(), .m = x.numel() / width, .n = w.size(0), .k = width, .transpose_b = true};
  gemm(launch.context, "linear", product, x.raw(), w.raw(), launch.in.size() == 3 ? launch.in[2].raw() : nullptr,
       launch.out[0].raw(), launch.workspace);
}

// Over the whole batch at once: on a GPU folded lanes and lanes one after another agree within rounding (D5).
void linear_wgrad(Launch& launch) {
  const Tensor &dy = launch.in[0], &x = launch.in[1];
  const int64_t out = dy.size(-1), in = x.size(-1);
  const Product product{
      .dtype = dy.dtype(), .result = dy.dtype(), .m = out, .n = in, .k = dy.numel() / out, .transpose_a = true};
  gemm(launch.context, "linear_wgrad", product, dy.raw(), x.raw(), nullptr, launch.out[0].raw(), launch.workspace);
}

}  // namespace tern::cuda
