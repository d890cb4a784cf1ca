#pragma once
#include <string>
#include <vector>

#include "nn/network.h"
#include "tools/config.h"

namespace tern {

struct OnnxOptions {
  NormalizeConfig normalize;
  std::vector<std::string> classes = {};  ///< names; empty: not known
  std::string source = {};                ///< the checkpoint, for people
};

/// A network of `layers` in evaluation mode as an ONNX model (opset 17, IR version 8), its bytes.
///   input "input" f32 [N, C, H, W]: pixels in [0, 1], red green blue; N is free  ->  output "logits" f32 [N, classes]
/// The normalisation by mean and standard deviation is part of the graph. BatchNorm stays BatchNormalization, which
/// runtimes fold when they load it. Weights keep PyTorch's names. metadata_props: classes, mean, std (JSON), normalization.
/// Throws ConfigError naming the layer that ONNX cannot be told of, Error over 2 GiB, the format's limit.
/// Ref: https://onnx.ai/onnx/repo-docs/IR.html, https://onnx.ai/onnx/operators/
std::string onnx_model(nn::Network& network, const std::vector<nn::LayerSpec>& layers, const OnnxOptions& options);

}  // namespace tern
