#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/conv2d/conv2d_job.h"
#include "kernels/conv2d/conv_plans.h"

struct cudnnContext;

/// One convolution as a graph of cuDNN's backend API, without cuDNN's headers.
/// Ref: NVIDIA cuDNN, "Backend API" (descriptor types and their attributes).
namespace tern::cuda {

/// Throws DeviceError `[op] call: name of the status: cuDNN's explanation` unless `status` (a cudnnStatus_t) is success.
void check_cudnn(int status, std::string_view op, const char* call);

/// Owns a cudnnBackendDescriptor_t.
class CudnnDescriptor {
 public:
  CudnnDescriptor() = default;
  CudnnDescriptor(CudnnDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~CudnnDescriptor();
  void*& slot() { return descriptor_; }
  void* get() const { return descriptor_; }

 private:
  void* descriptor_ = nullptr;
};

/// The GPU that engines are asked for: a handle's, or one described by a finalised DEVICEPROP descriptor, of which
/// plans can be made but not run.
struct CudnnTarget {
  cudnnContext* handle = nullptr;
  void* device = nullptr;
};

/// A GPU described by cuDNN's JSON of device properties (cuDNN 9.8 or newer; its keys are not documented): engines can be
/// asked for without having it. Throws DeviceError when cuDNN does not take the text.
CudnnDescriptor describe_gpu(std::string_view json);

/// Which engines of cuDNN may be taken.
struct ConvLimits {
  bool tf32 = false;     ///< f32 operands may be rounded to TF32
  size_t candidates = 8;
  size_t workspace = size_t{256} << 20;  ///< bytes
};

/// Something that can be executed. Owns what cuDNN refers to.
struct ConvExecutable {
  ConvPlan plan;
  CudnnDescriptor engine = {}, config = {}, execution = {};
  size_t workspace = 0;
};

class ConvGraph {
 public:
  /// Tensors' ids in a variant pack.
  enum Id : int64_t { kPictures = 1, kFilters = 2, kOutputs = 3, kBias = 4 };

  /// `job` is f32, f16 or bf16; with `fused_bias` the graph adds the bias to the sums before they are rounded.
  ConvGraph(const CudnnTarget& target, const ConvJob& job, bool fused_bias);

  /// What cuDNN's heuristics propose, best first, and its fallback engines after them, as far as it can be built and the
  /// limits let it: no engine whose bits may differ from run to run, none that computes in less precision than f32 or
  /// by transforms (Winograd, FFT) whose rounding errors are larger.
  std::vector<ConvExecutable> candidates(const ConvLimits& limits) const;
  /// The plan's engine, or nothing where cuDNN refuses it.
  std::optional<ConvExecutable> build(const ConvPlan& plan) const;
  /// What cuDNN says of the engine's arithmetic: "tensor core", "nondeterministic" ...; a number for what is not known.
  std::vector<std::string> notes(const ConvExecutable& executable) const;
  /// Queues it on the handle's stream. Pointers are multiples of 16 bytes, of `workspace` of 256; `bias` with fused_bias.
  void execute(const ConvExecutable& executable, const void* pictures, const void* filters, const void* outputs,
               const void* bias, void* workspace) const;

 private:
  void add_operations();
  std::vector<ConvPlan> proposals(int mode, const ConvLimits& limits) const;

  CudnnTarget target_;
  ConvJob job_;
  bool fused_bias_;
  std::vector<CudnnDescriptor> parts_;  ///< tensors, convolution, operations: the graph refers to them
  std::vector<void*> operations_;
  CudnnDescriptor graph_;
};

}  // namespace tern::cuda
