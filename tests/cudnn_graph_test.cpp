// cuDNN's graphs of convolutions, asked of the real library for a GPU that is described but need not be there: which
// engines it proposes, that they can be built, and that none is taken whose results are not as exact as promised.
#if TERN_CUDNN
#include <algorithm>

#include "core/error.h"
#include "kernels/conv2d/cudnn_graph.h"
#include "tests/catch.h"

namespace tern::cuda {
namespace {

constexpr const char* kH200 =
    R"({"deviceName":"NVIDIA H200","deviceVer":900,"driverVer":13000,"cudaDeviceId":0,"pciDeviceId":590684382,
        "multiProcessorCount":132,"warpSize":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"maxCtasPerSM":32,
        "regsPerBlock":65536,"maxRegistersPerSM":65536,"maxSharedMemoryPerBlock":49152,
        "maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,
        "maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"isTccDriver":0,"supportCoopLaunch":1,
        "totalGlobalMem":150000000000,"l2CacheSize":62914560,"smClockRateKHz":1980000,"memClockRateKHz":3201000})";

/// Nothing where this cuDNN cannot be told of a GPU that is not there.
std::optional<CudnnDescriptor> h200() {
  try {
    return describe_gpu(kH200);
  } catch (const DeviceError&) {
    return std::nullopt;
  }
}

struct Layer {
  Shape x, w;
  Conv2d options;
};
const Layer kLayers[] = {
    {{128, 32, 32, 64}, {64, 3, 3, 64}, {.padding = 1}},
    {{128, 32, 32, 3}, {64, 3, 3, 3}, {.padding = 1}},
    {{128, 16, 16, 256}, {512, 1, 1, 256}, {.stride = 2}},
    {{32, 14, 14, 32}, {32, 3, 3, 1}, {.padding = 1, .groups = 32}},
    {{2, 9, 7, 5}, {7, 3, 2, 5}, {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}}},
};

template <class Visit>
void for_jobs(const Visit& visit) {
  for (const Layer& layer : kLayers)
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
      for (const ConvPass pass : {ConvPass::forward, ConvPass::dgrad, ConvPass::wgrad})
        for (const bool bias : {false, true})
          if (!bias || pass == ConvPass::forward)
            visit(ConvJob{pass, dtype, conv_shape("test", layer.x, layer.w, layer.options), bias});
}

TEST_CASE("cudnn: every pass, dtype and layer has engines that can be built, and built again from their plan", "[cuda]") {
  const auto gpu = h200();
  if (!gpu) SKIP("this cuDNN takes no description of a GPU, or another one");
  for_jobs([&](const ConvJob& job) {
    INFO(job.key(false));
    const ConvGraph graph({.device = gpu->get()}, job, job.bias);
    const ConvLimits limits{.candidates = 4};
    const std::vector<ConvExecutable> candidates = graph.candidates(limits);
    REQUIRE_FALSE(candidates.empty());
    CHECK(candidates.size() <= 4);
    for (const ConvExecutable& candidate : candidates) {
      CHECK(candidate.workspace <= limits.workspace);
      CHECK(candidate.plan.fused_bias == job.bias);
      const std::optional<ConvExecutable> again = graph.build(candidate.plan);
      REQUIRE(again);
      CHECK(again->workspace == candidate.workspace);
    }
  });
}

TEST_CASE("cudnn: no engine that is nondeterministic, imprecise or too large is taken", "[cuda]") {
  const auto gpu = h200();
  if (!gpu) SKIP("this cuDNN takes no description of a GPU, or another one");
  for_jobs([&](const ConvJob& job) {
    INFO(job.key(false));
    const ConvGraph graph({.device = gpu->get()}, job, job.bias);
    const auto has = [&](const std::vector<std::string>& notes, const char* note) {
      return std::find(notes.begin(), notes.end(), note) != notes.end();
    };
    for (const ConvExecutable& candidate : graph.candidates({.candidates = 100})) {
      const std::vector<std::string> notes = graph.notes(candidate);
      for (const char* note : {"nondeterministic", "reduced precision reduction", "FFT", "Winograd"}) {
        INFO(note);
        CHECK_FALSE(has(notes, note));
      }
      if (job.dtype == DType::f32) CHECK_FALSE(has(notes, "tensor core"));
    }
    for (const ConvExecutable& candidate : graph.candidates({.candidates = 100, .workspace = 0}))
      CHECK(candidate.workspace == 0);
  });
}

TEST_CASE("cudnn: TF32 gives f32 more engines, and 16 bits have tensor cores", "[cuda]") {
  const auto gpu = h200();
  if (!gpu) SKIP("this cuDNN takes no description of a GPU, or another one");
  ConvJob job{ConvPass::forward, DType::f32, conv_shape("test", kLayers[0].x, kLayers[0].w, kLayers[0].options), false};
  const auto first_notes = [&](bool tf32) {
    const ConvGraph graph({.device = gpu->get()}, job, false);
    const std::vector<ConvExecutable> candidates = graph.candidates({.tf32 = tf32});
    REQUIRE_FALSE(candidates.empty());
    return graph.notes(candidates[0]);
  };
  CHECK(first_notes(false).empty());
  CHECK(first_notes(true) == std::vector<std::string>{"tensor core"});
  job.dtype = DType::f16;
  CHECK(first_notes(false) == std::vector<std::string>{"tensor core"});
}

TEST_CASE("cudnn: a plan of an engine that is not there is refused, and errors name op, call and status", "[cuda]") {
  const auto gpu = h200();
  if (!gpu) SKIP("this cuDNN takes no description of a GPU, or another one");
  const ConvJob job{ConvPass::wgrad, DType::f16, conv_shape("test", kLayers[0].x, kLayers[0].w, kLayers[0].options), false};
  const ConvGraph graph({.device = gpu->get()}, job, false);
  CHECK_FALSE(graph.build({.engine = 100000}));
  CHECK_FALSE(graph.build({.engine = graph.candidates({})[0].plan.engine, .knobs = {{2, 1000000}}}));
  CHECK_THROWS_WITH(describe_gpu("{}"), HasText("[cudnn] cudnnBackendFinalize: CUDNN_STATUS_BAD_PARAM"));
}

}  // namespace
}  // namespace tern::cuda
#endif
