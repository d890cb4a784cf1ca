#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/op.h"
#include "kernels/conv2d/conv2d_job.h"

/// The three passes of conv2d on a GPU: through cuDNN where the build has it and it has an engine, else by own kernels.
namespace tern::cuda {

/// Where a pass reads and writes. forward: x, w -> y; dgrad: dy, w -> dx; wgrad: x, dy -> dw.
struct ConvBuffers {
  const void* first = nullptr;
  const void* second = nullptr;
  const void* bias = nullptr;
  void* result = nullptr;
};

/// Bytes of workspace that run_conv() wants. Chooses the plan the first time a job is seen, which takes time and memory.
size_t conv_workspace(Context& context, const ConvJob& job);
void run_conv(Launch& launch, const ConvJob& job);

// conv2d.cu: every floating dtype and option, the same bits in every run.
size_t own_conv_workspace(const ConvJob& job);
void run_own_conv(Context& context, const ConvJob& job, const ConvBuffers& buffers, std::span<std::byte> workspace);

// conv_around.cu: what goes around cuDNN's engines.
/// y[i] += bias[i % width], in f32; f16, bf16, f32.
void add_bias(Context& context, std::string_view op, DType dtype, const void* bias, void* y, int64_t count, int64_t width);
/// Numbers of no pattern in [-1, 1), to time kernels on.
void fill_noise(Context& context, std::string_view op, DType dtype, void* to, int64_t count);

}  // namespace tern::cuda
