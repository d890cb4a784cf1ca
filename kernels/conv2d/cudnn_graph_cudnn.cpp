#include <cudnn.h>

#include <algorithm>
#include <array>
#include <string>

#include "core/error.h"
#include "kernels/conv2d/cudnn_graph.h"

namespace tern::cuda {
namespace {

constexpr int64_t kProposals = 64;  // of one kind of heuristics; there are fewer
constexpr int64_t kKnobs = 2 * CUDNN_KNOB_TYPE_COUNTS;

#if CUDNN_VERSION < 90800  // headers that do not know of GPUs described by text: their cuDNN will refuse them
constexpr auto CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR = static_cast<cudnnBackendDescriptorType_t>(38);
constexpr auto CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION = static_cast<cudnnBackendAttributeName_t>(2702);
constexpr auto CUDNN_ATTR_ENGINEHEUR_DEVICEPROP = static_cast<cudnnBackendAttributeName_t>(204);
constexpr auto CUDNN_ATTR_ENGINE_DEVICEPROP = static_cast<cudnnBackendAttributeName_t>(1307);
#endif

using AttributeName = cudnnBackendAttributeName_t;
using AttributeType = cudnnBackendAttributeType_t;

/// cuDNN's answer to something that it does not do, as opposed to something gone wrong.
bool is_unsupported(cudnnStatus_t status) { return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED; }

/// A descriptor in the making.
class Builder {
 public:
  Builder(std::string_view op, cudnnBackendDescriptorType_t type) : op_(op) {
    check_cudnn(cudnnBackendCreateDescriptor(type, &descriptor_.slot()), op_, "cudnnBackendCreateDescriptor");
  }

  template <class T>
  Builder& set(AttributeName name, AttributeType type, const std::vector<T>& values) {
    check_cudnn(
        cudnnBackendSetAttribute(descriptor_.get(), name, type, static_cast<int64_t>(values.size()), values.data()),
        op_, "cudnnBackendSetAttribute");
    return *this;
  }
  template <class T>
  Builder& set(AttributeName name, AttributeType type, const T& value) {
    check_cudnn(cudnnBackendSetAttribute(descriptor_.get(), name, type, 1, &value), op_, "cudnnBackendSetAttribute");
    return *this;
  }
  Builder& set(AttributeName name, const CudnnDescriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.get());
  }
  /// The status, where a refusal is an answer.
  cudnnStatus_t try_finish() { return cudnnBackendFinalize(descriptor_.get()); }
  CudnnDescriptor finish() {
    check_cudnn(try_finish(), op_, "cudnnBackendFinalize");
    return take();
  }
  CudnnDescriptor take() { return std::move(descriptor_); }

 private:
  std::string_view op_;
  CudnnDescriptor descriptor_;
};

template <class T>
T attribute(std::string_view op, const CudnnDescriptor& of, AttributeName name, AttributeType type) {
  T value = {};
  int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(of.get(), name, type, 1, &count, &value), op, "cudnnBackendGetAttribute");
  return value;
}

/// An attribute that is a list of at most `most` descriptors: cuDNN fills in descriptors that the caller makes.
std::vector<CudnnDescriptor> descriptors(std::string_view op, const CudnnDescriptor& of, AttributeName name,
                                         cudnnBackendDescriptorType_t type, int64_t most) {
  std::vector<CudnnDescriptor> list;
  std::vector<void*> raw;
  for (int64_t i = 0; i < most; ++i) raw.push_back(list.emplace_back(Builder(op, type).take()).get());
  int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(of.get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &count, raw.data()), op,
              "cudnnBackendGetAttribute");
  list.resize(static_cast<size_t>(std::min(most, count)));
  return list;
}

cudnnDataType_t type_of(DType dtype) {
  return dtype == DType::f16 ? CUDNN_DATA_HALF : dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/// `extents` in cuDNN's order N, C, H, W of a tensor that lies as N, H, W, C (or K, C, R, S as K, R, S, C).
CudnnDescriptor tensor(std::string_view op, ConvGraph::Id id, cudnnDataType_t dtype,
                       const std::vector<int64_t>& extents, bool is_virtual = false) {
  const std::vector<int64_t> strides{extents[1] * extents[2] * extents[3], 1, extents[1] * extents[3], extents[1]};
  return Builder(op, CUDNN_BACKEND_TENSOR_DESCRIPTOR)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, dtype)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, extents)
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides)
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, static_cast<int64_t>(id))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, int64_t{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual)
      .finish();
}

CudnnDescriptor convolution(std::string_view op, const Conv2d& o) {
  const std::vector<int64_t> padding{o.padding.h, o.padding.w};
  return Builder(op, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, std::vector<int64_t>{o.dilation.h, o.dilation.w})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, std::vector<int64_t>{o.stride.h, o.stride.w})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, padding)
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, padding)
      .finish();
}

/// A pass as an operation: its descriptor type and the attributes of its operands.
struct PassNames {
  cudnnBackendDescriptorType_t operation;
  AttributeName pictures, filters, outputs, convolution, alpha, beta;
};
PassNames names_of(ConvPass pass) {
  if (pass == ConvPass::forward)
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  if (pass == ConvPass::dgrad)
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

std::vector<cudnnBackendNumericalNote_t> notes_of(std::string_view op, const CudnnDescriptor& engine) {
  constexpr int64_t kMost = 64;  // more than any version knows: CUDNN_NUMERICAL_NOTE_TYPE_COUNT is that of the headers
  std::vector<cudnnBackendNumericalNote_t> notes(kMost);
  int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, kMost,
                                       &count, notes.data()),
              op, "cudnnBackendGetAttribute");
  notes.resize(static_cast<size_t>(std::min(kMost, count)));
  return notes;
}

/// Whether an engine with this note may be taken.
bool is_allowed(cudnnBackendNumericalNote_t note, DType dtype, bool tf32) {
  switch (note) {
    case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP: return true;
    case CUDNN_NUMERICAL_NOTE_TENSOR_CORE: return dtype != DType::f32 || tf32;
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: return dtype == DType::f32 && tf32;
    default: return false;  // bits of chance, sums in 16 bits, FFT, Winograd, and what cuDNN may yet invent
  }
}

}  // namespace

void check_cudnn(int status, std::string_view op, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 1024> why{};
  cudnnGetLastErrorString(why.data(), why.size());
  throw DeviceError("[" + std::string(op) + "] " + call + ": " +
                    cudnnGetErrorString(static_cast<cudnnStatus_t>(status)) +
                    (why[0] ? std::string(": ") + why.data() : ""));
}

CudnnDescriptor::~CudnnDescriptor() {
  if (descriptor_) cudnnBackendDestroyDescriptor(descriptor_);
}

CudnnDescriptor describe_gpu(std::string_view json) {
  return Builder("cudnn", CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)
      .set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, std::vector<char>(json.begin(), json.end()))
      .finish();
}

ConvGraph::ConvGraph(const CudnnTarget& target, const ConvJob& job, bool fused_bias)
    : target_(target), job_(job), fused_bias_(fused_bias) {
  add_operations();
  Builder graph(job.op(), CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations_);
  if (target.handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, target.handle);
  graph_ = graph.finish();
}

void ConvGraph::add_operations() {
  const std::string_view op = job_.op();
  const ConvShape& s = job_.shape;
  const auto add = [&](CudnnDescriptor part) { return parts_.emplace_back(std::move(part)).get(); };
  const cudnnDataType_t dtype = type_of(job_.dtype);
  const std::vector<int64_t> y{s.n, s.k, s.p, s.q};
  constexpr auto kSums = static_cast<Id>(5);  // y before the bias, never in memory

  const PassNames names = names_of(job_.pass);
  void* const pictures = add(tensor(op, kPictures, dtype, {s.n, s.c, s.h, s.w}));
  void* const filters = add(tensor(op, kFilters, dtype, {s.k, s.group_c(), s.r, s.s}));
  void* const outputs =
      add(fused_bias_ ? tensor(op, kSums, CUDNN_DATA_FLOAT, y, true) : tensor(op, kOutputs, dtype, y));
  operations_.push_back(add(Builder(op, names.operation)
                                .set(names.pictures, CUDNN_TYPE_BACKEND_DESCRIPTOR, pictures)
                                .set(names.filters, CUDNN_TYPE_BACKEND_DESCRIPTOR, filters)
                                .set(names.outputs, CUDNN_TYPE_BACKEND_DESCRIPTOR, outputs)
                                .set(names.convolution, CUDNN_TYPE_BACKEND_DESCRIPTOR, add(convolution(op, s.options)))
                                .set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f)
                                .set(names.beta, CUDNN_TYPE_FLOAT, 0.0f)
                                .finish()));
  if (!fused_bias_) return;
  void* const sum = add(Builder(op, CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                            .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_ADD)
                            .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
                            .finish());
  void* const bias = add(tensor(op, kBias, dtype, {1, s.k, 1, 1}));
  void* const result = add(tensor(op, kOutputs, dtype, y));
  operations_.push_back(add(Builder(op, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
                                .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, sum)
                                .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, outputs)
                                .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, bias)
                                .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, result)
                                .finish()));
}

std::vector<ConvPlan> ConvGraph::proposals(int mode, const ConvLimits& limits) const {
  const std::string_view op = job_.op();
  Builder builder(op, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  builder.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, static_cast<cudnnBackendHeurMode_t>(mode));
  if (target_.device) builder.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, target_.device);
  const cudnnStatus_t status = builder.try_finish();
  if (is_unsupported(status)) return {};
  check_cudnn(status, op, "cudnnBackendFinalize (engine heuristics)");
  const CudnnDescriptor heuristics = builder.take();

  std::vector<ConvPlan> plans;
  for (const CudnnDescriptor& config :
       descriptors(op, heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, kProposals)) {
    const std::vector<CudnnDescriptor> engine =
        descriptors(op, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
    if (engine.empty()) continue;
    const std::vector<cudnnBackendNumericalNote_t> notes = notes_of(op, engine[0]);
    if (!std::all_of(notes.begin(), notes.end(), [&](auto note) { return is_allowed(note, job_.dtype, limits.tf32); }))
      continue;
    ConvPlan plan{.fused_bias = fused_bias_,
                  .engine = attribute<int64_t>(op, engine[0], CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64)};
    for (const CudnnDescriptor& knob :
         descriptors(op, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, kKnobs))
      plan.knobs.push_back(
          {attribute<cudnnBackendKnobType_t>(op, knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE),
           attribute<int64_t>(op, knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64)});
    plans.push_back(std::move(plan));
  }
  return plans;
}

std::vector<ConvExecutable> ConvGraph::candidates(const ConvLimits& limits) const {
  std::vector<ConvExecutable> found;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (const ConvPlan& plan : proposals(mode, limits)) {
      if (found.size() == limits.candidates) return found;
      if (std::any_of(found.begin(), found.end(), [&](const ConvExecutable& other) { return other.plan == plan; }))
        continue;
      std::optional<ConvExecutable> executable = build(plan);
      if (executable && executable->workspace <= limits.workspace) found.push_back(std::move(*executable));
    }
  }
  return found;
}

std::optional<ConvExecutable> ConvGraph::build(const ConvPlan& plan) const {
  const std::string_view op = job_.op();
  ConvExecutable made{.plan = plan};
  Builder engine(op, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph_)
      .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, plan.engine);
  if (target_.device) engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, target_.device);
  if (engine.try_finish() != CUDNN_STATUS_SUCCESS) return std::nullopt;
  made.engine = engine.take();

  std::vector<CudnnDescriptor> knobs;
  std::vector<void*> raw;
  for (const ConvPlan::Knob& knob : plan.knobs) {
    knobs.push_back(
        Builder(op, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR)
            .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(knob.type))
            .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, knob.value)
            .finish());
    raw.push_back(knobs.back().get());
  }
  Builder config(op, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  config.set(CUDNN_ATTR_ENGINECFG_ENGINE, made.engine);
  if (!raw.empty()) config.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, raw);
  if (config.try_finish() != CUDNN_STATUS_SUCCESS) return std::nullopt;
  made.config = config.take();

  Builder execution(op, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  execution.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, made.config);
  if (target_.handle) execution.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, target_.handle);
  if (execution.try_finish() != CUDNN_STATUS_SUCCESS) return std::nullopt;  // also where the engine cannot be compiled
  made.execution = execution.take();
  made.workspace = static_cast<size_t>(
      attribute<int64_t>(op, made.execution, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64));
  return made;
}

std::vector<std::string> ConvGraph::notes(const ConvExecutable& executable) const {
  std::vector<std::string> names;
  for (const cudnnBackendNumericalNote_t note : notes_of(job_.op(), executable.engine)) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE: names.push_back("tensor core"); break;
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: names.push_back("down-converted inputs"); break;
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION: names.push_back("reduced precision reduction"); break;
      case CUDNN_NUMERICAL_NOTE_FFT: names.push_back("FFT"); break;
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC: names.push_back("nondeterministic"); break;
      case CUDNN_NUMERICAL_NOTE_WINOGRAD: names.push_back("Winograd"); break;
      case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP: names.push_back("strict NaN"); break;
      default: names.push_back(std::to_string(note));
    }
  }
  return names;
}

void ConvGraph::execute(const ConvExecutable& executable, const void* pictures, const void* filters,
                        const void* outputs, const void* bias, void* workspace) const {
  std::vector<int64_t> ids{kPictures, kFilters, kOutputs};
  std::vector<const void*> pointers{pictures, filters, outputs};
  if (fused_bias_) {
    ids.push_back(kBias);
    pointers.push_back(bias);
  }
  const CudnnDescriptor pack = Builder(job_.op(), CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
                                   .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids)
                                   .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers)
                                   .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
                                   .finish();
  check_cudnn(cudnnBackendExecute(target_.handle, executable.execution.get(), pack.get()), job_.op(),
              "cudnnBackendExecute");
}

}  // namespace tern::cuda
