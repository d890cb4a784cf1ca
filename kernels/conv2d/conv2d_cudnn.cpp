#include "kernels/conv2d/conv2d_cudnn.h"

#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/runtime_cuda.h"
#include "kernels/common/scratch.h"
#include "kernels/conv2d/cudnn_graph.h"

namespace tern::cuda {
namespace {

constexpr size_t kAlignment = 256;           // of the workspace
constexpr float kTimingMilliseconds = 2.0f;  // to spend on each candidate at least, but no more than kTimingRuns
constexpr int kTimingRuns = 10;

/// A job with its plan; no executable: the own kernel runs.
struct ConvEngine {
  std::unique_ptr<ConvGraph> graph;
  std::optional<ConvExecutable> executable;
};

/// Memory of the context's allocator.
class Buffer {
 public:
  Buffer(Context& context, size_t bytes)
      : allocator_(context.allocator()), data_(allocator_.allocate(bytes, "conv plans")) {}
  /// Random elements.
  Buffer(Context& context, const ConvJob& job, const Shape& shape) : Buffer(context, Spec{job.dtype, shape}.bytes()) {
    fill_noise(context, job.op(), job.dtype, data_, shape.numel());
  }
  ~Buffer() { allocator_.free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  Allocator& allocator_;
  void* data_;
};

std::byte* aligned(void* memory) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  return static_cast<std::byte*>(memory) + (kAlignment - address % kAlignment) % kAlignment;
}

/// The tensors of a pass by their place in the graph.
struct GraphTensors {
  const void* pictures;
  const void* filters;
  const void* outputs;
};
GraphTensors tensors_of(ConvPass pass, const ConvBuffers& b) {
  if (pass == ConvPass::forward) return {b.first, b.second, b.result};
  if (pass == ConvPass::dgrad) return {b.result, b.second, b.first};
  return {b.first, b.result, b.second};
}

/// Random operands for timing, as large as the job's.
class TimingBuffers {
 public:
  TimingBuffers(Context& context, const ConvJob& job, size_t workspace)
      : pictures_(context, job, job.shape.x_shape()),
        filters_(context, job, job.shape.w_shape()),
        outputs_(context, job, job.shape.y_shape()),
        bias_(context, job, {job.shape.k}),
        workspace_(context, workspace + kAlignment) {}

  void run(const ConvGraph& graph, const ConvExecutable& executable) const {
    graph.execute(executable, pictures_.data(), filters_.data(), outputs_.data(), bias_.data(),
                  aligned(workspace_.data()));
  }

 private:
  Buffer pictures_, filters_, outputs_, bias_, workspace_;
};

/// Milliseconds of one run; infinite where cuDNN built the plan but does not run it.
float time_of(Context& context, const ConvGraph& graph, const ConvExecutable& executable,
              const TimingBuffers& buffers) {
  const cudaStream_t stream = cuda_runtime(context).stream();
  CudaEvent begin(CudaEvent::Timing::on), end(CudaEvent::Timing::on);
  const auto measure = [&](int runs) {
    begin.record(stream);
    for (int i = 0; i < runs; ++i) buffers.run(graph, executable);
    end.record(stream);
    end.synchronize();
    return end.milliseconds_since(begin) / static_cast<float>(runs);
  };
  try {
    measure(1);  // loads the kernels
    const float once = measure(1);
    return measure(std::clamp(static_cast<int>(kTimingMilliseconds / std::max(once, 1e-3f)), 1, kTimingRuns));
  } catch (const DeviceError&) {
    return std::numeric_limits<float>::infinity();
  }
}

class CudnnConvs {
 public:
  explicit CudnnConvs(Context& context) : context_(context) {
    check_cudnn(cudnnCreate(&handle_), "conv2d", "cudnnCreate");
    check_cudnn(cudnnSetStream(handle_, cuda_runtime(context).stream()), "conv2d", "cudnnSetStream");
  }
  ~CudnnConvs() {
    engines_.clear();
    cudnnDestroy(handle_);
  }
  CudnnConvs(const CudnnConvs&) = delete;
  CudnnConvs& operator=(const CudnnConvs&) = delete;

  const ConvEngine& engine(const ConvJob& job) {
    const bool tf32 = context_.options().tf32 && job.dtype == DType::f32;
    const std::string key = job.key(tf32);
    const auto found = engines_.find(key);
    if (found != engines_.end()) return found->second;
    require_no_capture(job, key);
    ConvPlans& plans = context_.extension<ConvPlans>();
    const ConvPlan* known = plans.find(key);
    ConvEngine engine = known ? rebuild(job, *known, key) : choose(job, tf32);
    if (!known) plans.set(key, engine.executable ? engine.executable->plan : ConvPlan{.own = true});
    return engines_.emplace(key, std::move(engine)).first->second;
  }

 private:
  void require_no_capture(const ConvJob& job, const std::string& key) const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(cuda_runtime(context_).stream(), &status), job.op());
    if (status != cudaStreamCaptureStatusNone)
      throw DeviceError("[" + std::string(job.op()) + "] a graph is captured but no plan is chosen yet for " + key +
                        ": run it once before");
  }

  ConvEngine rebuild(const ConvJob& job, const ConvPlan& plan, const std::string& key) const {
    ConvEngine engine;
    if (plan.own) return engine;
    engine.graph = std::make_unique<ConvGraph>(CudnnTarget{.handle = handle_}, job, plan.fused_bias);
    engine.executable = engine.graph->build(plan);
    if (!engine.executable)
      throw DeviceError("[" + std::string(job.op()) + "] cuDNN cannot build the plan that was loaded for " + key);
    return engine;
  }

  /// Of the engines that add the bias too, where there are any, and of the others else.
  ConvEngine choose(const ConvJob& job, bool tf32) const {
    const ConvLimits limits{.tf32 = tf32};
    for (const bool fused : {true, false}) {
      if (fused && !job.bias) continue;
      ConvEngine engine;
      engine.graph = std::make_unique<ConvGraph>(CudnnTarget{.handle = handle_}, job, fused);
      std::vector<ConvExecutable> candidates = engine.graph->candidates(limits);
      const std::optional<size_t> best = pick(job, *engine.graph, candidates);
      if (!best) continue;
      engine.executable = std::move(candidates[*best]);
      return engine;
    }
    return {};
  }

  /// The fastest, or the first that runs; nothing where none does.
  std::optional<size_t> pick(const ConvJob& job, const ConvGraph& graph,
                             const std::vector<ConvExecutable>& candidates) const {
    if (candidates.empty()) return std::nullopt;
    size_t workspace = 0;
    for (const ConvExecutable& candidate : candidates) workspace = std::max(workspace, candidate.workspace);
    const TimingBuffers buffers(context_, job, workspace);
    std::vector<float> times;
    for (const ConvExecutable& candidate : candidates) {
      times.push_back(time_of(context_, graph, candidate, buffers));
      if (!context_.options().time_engines && std::isfinite(times.back())) return times.size() - 1;
    }
    const auto best = std::min_element(times.begin(), times.end());
    return std::isfinite(*best) ? std::optional(static_cast<size_t>(best - times.begin())) : std::nullopt;
  }

  Context& context_;
  cudnnHandle_t handle_ = nullptr;
  std::map<std::string, ConvEngine> engines_;
};

bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

std::string conv_library() {
  const size_t version = cudnnGetVersion();  // 9 19 00: two digits each after the major one
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

size_t cudnn_conv_workspace(Context& context, const ConvJob& job) {
  if (job.dtype == DType::f64) return 0;
  const ConvEngine& engine = context.extension<CudnnConvs>().engine(job);
  return engine.executable && engine.executable->workspace > 0 ? engine.executable->workspace + kAlignment : 0;
}

bool run_cudnn_conv(Context& context, const ConvJob& job, const ConvBuffers& buffers, std::span<std::byte> workspace) {
  if (job.dtype == DType::f64) return false;
  if (!is_aligned(buffers.first) || !is_aligned(buffers.second) || !is_aligned(buffers.bias) ||
      !is_aligned(buffers.result))
    return false;
  const ConvEngine& engine = context.extension<CudnnConvs>().engine(job);
  if (!engine.executable) return false;
  const GraphTensors tensors = tensors_of(job.pass, buffers);
  engine.graph->execute(*engine.executable, tensors.pictures, tensors.filters, tensors.outputs, buffers.bias,
                        aligned(workspace.data()));
  if (job.bias && !engine.executable->plan.fused_bias)
    add_bias(context, job.op(), job.dtype, buffers.bias, buffers.result, job.shape.y_shape().numel(), job.shape.k);
  return true;
}

}  // namespace tern::cuda
