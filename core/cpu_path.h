#pragma once
#include <string>

namespace tern {

/// The instruction set that kernels run on in this process: "avx2", "avx512", "neon" ... Part of the device class (D5):
/// results of one path are exact among themselves.
std::string cpu_path();

}  // namespace tern
