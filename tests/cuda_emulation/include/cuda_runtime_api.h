#pragma once
/// Stands in for the CUDA toolkit's header: tests/cuda_emulation/README.md.
#include "tests/cuda_emulation/launch.h"
#include "tests/cuda_emulation/runtime.h"
#include "tests/cuda_emulation/vector_types.h"
#ifdef TERN_EMULATED_DEVICE_CODE
#include "tests/cuda_emulation/device.h"
#endif
