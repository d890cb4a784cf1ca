#pragma once
#include <string>
#include <vector>

#include "core/context.h"
#include "nn/network.h"
#include "nn/safetensors.h"
#include "tools/config.h"
#include "tools/data_set.h"

/// What a program's CHECKPOINT argument means.
namespace tern {

/// A checkpoint argument, found and opened. `config` is the checkpoint's, with the data folder of the run beside it; of
/// bare weights it is --model's.
struct OpenedCheckpoint {
  std::string label;  ///< the argument
  SafetensorsFile file;
  Config config;
  std::vector<std::string> classes = {};  ///< that it was trained on; empty for bare weights
  data::PictureShape pictures = {};       ///< the same, 0 x 0
};

/// Opens a run folder (its best.safetensors, else last), a checkpoint folder, or a file; bare weights need `model`, a
/// preset's name or a config file. Throws DataError where there is none or it is damaged, ConfigError without a model.
OpenedCheckpoint open_checkpoint(const std::string& argument, const std::string& model);

/// What a network was trained on: the checkpoint's classes and pictures or, of bare weights, what their config says ("class 0", ...).
struct TrainedOn {
  std::vector<std::string> classes;
  data::PictureShape pictures;
};
/// Throws ConfigError for bare weights whose config does not say how many classes there are.
TrainedOn trained_on(const OpenedCheckpoint& checkpoint);

/// The checkpoint's network with its weights, or their average where the run has one (train.ema), for pictures of `shape` and `classes` classes.
std::unique_ptr<nn::Network> network_of(Context& context, const OpenedCheckpoint& checkpoint, const data::PictureShape& shape, int64_t classes);

}  // namespace tern
