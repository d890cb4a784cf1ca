#include "kernels/conv2d/conv2d_cuda.h"

#include <algorithm>

#include "core/runtime_cuda.h"
#include "kernels/conv2d/conv2d_cudnn.h"

namespace tern::cuda {
namespace {

ConvBuffers buffers_of(const Launch& launch) {
  return {launch.in[0].raw(), launch.in[1].raw(), launch.in.size() > 2 ? launch.in[2].raw() : nullptr, launch.out[0].raw()};
}

}  // namespace

std::string gpu_name(Context& context) {
  cudaDeviceProp properties = {};
  check_cuda(cudaGetDeviceProperties(&properties, context.device().index), "device");
  return properties.name;
}

#if TERN_CUDNN
// The own kernels' workspace serves when an operand is a view that starts where cuDNN's engines cannot read.
size_t conv_workspace(Context& context, const ConvJob& job) {
  return std::max(own_conv_workspace(job), cudnn_conv_workspace(context, job));
}

void run_conv(Launch& launch, const ConvJob& job) {
  const ConvBuffers buffers = buffers_of(launch);
  if (!run_cudnn_conv(launch.context, job, buffers, launch.workspace))
    run_own_conv(launch.context, job, buffers, launch.workspace);
}
#else
std::string conv_library() { return "none"; }

size_t conv_workspace(Context&, const ConvJob& job) { return own_conv_workspace(job); }

void run_conv(Launch& launch, const ConvJob& job) {
  run_own_conv(launch.context, job, buffers_of(launch), launch.workspace);
}
#endif

}  // namespace tern::cuda
