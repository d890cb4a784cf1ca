#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/module.h"
#include "nn/safetensors.h"

namespace tern::nn {

/// The network's parameters and buffers as they go into a weights file: PyTorch's names and layouts (convolutions
/// OIHW, linear [out, in], num_batches_tracked I64 scalars). The sources read the module's tensors when they are
/// written; it must outlive them.
std::vector<TensorSource> weight_sources(Module& network);

/// Copies a file's tensors into the network by name. Tensors whose name starts with one of `ignored` prefixes may be in
/// the file and not in the network; apart from these the names must be the same. f16, bf16 and f64 are converted to
/// f32. Throws DataError naming the file and every missing or unexpected tensor, or the one whose shape differs; the
/// network is then unchanged.
void load_weights(Module& network, const SafetensorsFile& file, const std::vector<std::string>& ignored = {});

}  // namespace tern::nn
