#include "tools/data_run.h"

#include <filesystem>
#include <utility>

#include "tools/data_cifar.h"

namespace tern::data {

RunData open_run_data(const DataConfig& config, uint64_t seed) {
  const std::string_view name = name_of(config.name);
  const std::filesystem::path dir = config.dir;
  DatasetPtr train = open_dataset(name, dir, Split::kTrain);
  if (config.limit) train = limit(std::move(train), *config.limit);
  TrainValidation parts = split_validation(std::move(train), config.val_fraction, seed);
  return {std::move(parts.train), std::move(parts.validation), open_dataset(name, dir, Split::kTest)};
}

std::vector<Augment> augment_steps(const DataConfig& config) {
  const auto& mean = config.normalize.mean;
  std::vector<Augment> steps;
  for (const AugmentConfig& step : config.augment) {
    switch (step.name) {
      case AugmentName::crop:
        steps.push_back(Crop{step.pad, step.mode});
        break;
      case AugmentName::flip: steps.push_back(Flip{static_cast<float>(step.p)}); break;
      case AugmentName::cutout:
        steps.push_back(Cutout{step.size, raw_mean({static_cast<float>(mean[0]), static_cast<float>(mean[1]),
                                                    static_cast<float>(mean[2])})});
        break;
    }
  }
  return steps;
}

}  // namespace tern::data
