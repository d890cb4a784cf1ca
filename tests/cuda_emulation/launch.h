#pragma once
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/cuda_emulation/runtime.h"

namespace tern::emulation {

/// Runs the grid, or records it where config.stream is captured. `thread` runs the kernel once, for the thread that
/// threadIdx and blockIdx name.
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread);

/// The same for work that is not a kernel (a library call): runs or records `work`.
cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work);

}  // namespace tern::emulation

/// CUDA's launch: arguments convert to the kernel's parameter types and are copied now, also where the launch is recorded.
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "kernel arguments are copied as bytes");
  static_assert((sizeof(P) + ... + 0) <= 4096, "a kernel has at most 4 KiB of arguments");
  auto copy = [](P... values) { return std::tuple<P...>(values...); };
  return tern::emulation::launch(
      *config, reinterpret_cast<const void*>(kernel),
      [kernel, values = copy(std::forward<A>(arguments)...)] { std::apply(kernel, values); });
}
