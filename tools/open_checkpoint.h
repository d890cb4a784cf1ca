#pragma once
#include <string>
#include <vector>

#include "nn/safetensors.h"
#include "tools/config.h"
#include "tools/data_set.h"

namespace tern {

/// A checkpoint argument of a program, found and opened: a run folder, a checkpoint folder, or a file.
struct OpenedCheckpoint {
  std::string label;  ///< the argument
  SafetensorsFile file;
  Config config;
  std::string data_name, data_dir;
  std::vector<std::string> classes;  ///< names; empty for bare weights
  data::PictureShape pictures;       ///< of no height for bare weights
};

/// `model` names the network of bare weights, a preset or a config file; it also overrides a checkpoint's own. Throws
/// DataError when there is no checkpoint or it is damaged, ConfigError for bare weights without a model.
OpenedCheckpoint open_checkpoint(const std::string& argument, const std::string& model);

}  // namespace tern
