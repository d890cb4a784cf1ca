#pragma once
/// What the executable's symbol table says about kernels. Everything is empty in a stripped executable.
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace tern::emulation {

/// The kernel's C++ name, or "a kernel".
std::string kernel_name(const void* kernel);

/// The shared arrays that the kernel may use: those in its body, and those in functions of namespace tern::cuda.
std::vector<std::span<std::byte>> shared_arrays(const void* kernel);

}  // namespace tern::emulation
