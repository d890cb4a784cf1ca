#pragma once
#include <cstddef>
#include <span>

#include "kernels/conv2d/conv2d_cuda.h"

/// The convolutions that cuDNN runs, through its graph API. Only in builds with cuDNN.
namespace tern::cuda {

/// Bytes that run_cudnn_conv() wants for the job. Chooses its plan (ConvPlans) the first time it is seen: the first few
/// engines of cuDNN's heuristics that give the same bits every time, and compute in full precision unless TF32 is
/// allowed, are timed, or the one of a plan that was loaded is taken. Throws DeviceError while a graph is captured.
size_t cudnn_conv_workspace(Context& context, const ConvJob& job);

/// False: nothing is queued, the own kernel is to run (no engine, f64, or a pointer that is not a multiple of 16 bytes).
bool run_cudnn_conv(Context& context, const ConvJob& job, const ConvBuffers& buffers, std::span<std::byte> workspace);

}  // namespace tern::cuda
