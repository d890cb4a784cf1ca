#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/network.h"
#include "tools/config.h"
#include "tools/data_set.h"

namespace tern {

/// What a training is made of, before it begins. Bytes and floating-point operations.
struct TrainingSummary {
  std::string config, device, precision;
  data::PictureShape pictures;
  int64_t classes = 0;
  std::vector<nn::LayerInfo> layers;
  int64_t parameters = 0;
  int64_t forward_flops = 0, training_flops = 0;  ///< a picture; see nn::Network::forward_flops
  int64_t pictures_per_step = 0;

  struct Memory {
    int64_t weights = 0;     ///< the rounded copy of mixed precision included
    int64_t gradients = 0;
    int64_t optimizer = 0;   ///< the weight average included
    int64_t statistics = 0;  ///< BatchNorm's
    int64_t arena = 0;       ///< of the recorded step: activations, their gradients, workspaces
    int64_t without_reuse = 0;  ///< what the arena would be without memory planning
    int64_t total() const { return weights + gradients + optimizer + statistics + arena; }
  } memory;

  std::optional<int64_t> training_pictures;  ///< nothing: the data are not there
  std::optional<int64_t> steps_per_epoch;
  std::optional<double> seconds_per_step;    ///< median of the probe's three
  std::optional<double> seconds_per_epoch() const;  ///< without the evaluation
};

/// Builds the training, records one step on made-up pictures and, with `probe`, times three more. The data need not be
/// there: CIFAR's shapes are known. Throws as the training would.
TrainingSummary summarize(const Config& config, const std::string& name, bool probe);

/// A table for people; an object of the same.
std::string summary_text(const TrainingSummary& summary);
std::string summary_json(const TrainingSummary& summary);

/// Layers in their order, as `summary --json` and the report's page have them: name, type, depth, fused, output (extents without
/// the batch), parameters, flops (of one picture's forward pass).
nlohmann::ordered_json layers_json(const std::vector<nn::LayerInfo>& layers);

/// 1536 -> "1.5 KiB".
std::string bytes_text(double bytes);

}  // namespace tern
