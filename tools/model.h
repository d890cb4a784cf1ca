#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/network.h"
#include "tools/config.h"

namespace tern {

/// The layers that `model` in a config means: a preset with its options, or the JSON array of layers. Throws
/// LayerError where the array is wrong.
std::vector<nn::LayerSpec> layers_of(const ModelConfig& model, int64_t classes);

/// What is wrong with a layer, and where: `model.layers.3.kernel: got "3", wanted a number or two`.
class LayerError : public ConfigError {
 public:
  LayerError(const std::string& key, const std::string& what) : ConfigError(key + ": " + what), path(key), problem(what) {}
  const std::string path, problem;
};

/// Parses a network written as a JSON array of layers (docs/networks.md). Throws LayerError.
std::vector<nn::LayerSpec> parse_layers(const std::string& json);

/// The initialised network of a run. Throws ConfigError when it does not end in one score a class.
std::unique_ptr<nn::Network> build_model(Context& context, const ModelConfig& model, nn::InputShape input,
                                         int64_t classes, uint64_t seed);

}  // namespace tern
