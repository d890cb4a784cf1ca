#include "tools/data_run.h"

#include <filesystem>
#include <utility>

#include "tools/data_folder.h"

namespace tern::data {

namespace {

RunData open_folder(const DataConfig& config, uint64_t seed, Progress* progress) {
  FolderParts parts = list_folder(config, seed);
  int64_t budget = picture_budget(config), passed_over = 0;
  const auto decoded = [&](PictureList& list) { return decode_pictures(std::move(list), config, budget, passed_over, progress); };
  RunData data{.train = decoded(parts.train), .validation = nullptr, .test = decoded(parts.test)};
  if (!parts.validation.pictures.empty()) data.validation = decoded(parts.validation);
  if (parts.held_out_is_test) data.validation = data.test;
  return data;
}

std::vector<Augment> augment_steps(const DataConfig& config) {
  const auto& mean = config.normalize.mean;
  std::vector<Augment> steps;
  for (const AugmentConfig& step : config.augment) {
    switch (step.name) {
      case AugmentName::crop:
        steps.push_back(Crop{step.pad, step.mode});
        break;
      case AugmentName::flip: steps.push_back(Flip{static_cast<float>(step.p), step.alternating}); break;
      case AugmentName::cutout:
        steps.push_back(Cutout{step.size, raw_mean({static_cast<float>(mean[0]), static_cast<float>(mean[1]),
                                                    static_cast<float>(mean[2])})});
        break;
    }
  }
  return steps;
}

}  // namespace

RunData open_run_data(const DataConfig& config, uint64_t seed, Progress* progress) {
  if (config.name == DataName::folder) return open_folder(config, seed, progress);
  const std::string_view name = name_of(config.name);
  const std::filesystem::path dir = config.dir;
  DatasetPtr train = open_dataset(name, dir, Split::kTrain);
  if (config.limit) train = limit(std::move(train), *config.limit);
  TrainValidation parts = split_validation(std::move(train), config.val_fraction, seed);
  return {std::move(parts.train), std::move(parts.validation), open_dataset(name, dir, Split::kTest)};
}

DatasetPtr open_split(const DataConfig& config, uint64_t seed, Split split, const std::vector<std::string>& classes, Progress* progress) {
  if (config.name != DataName::folder) return open_dataset(name_of(config.name), config.dir, split);
  DataConfig whole = config;
  whole.limit.reset();
  FolderParts parts = list_folder(whole, seed, classes, split == Split::kTest);
  int64_t budget = picture_budget(config), passed_over = 0;
  return decode_pictures(std::move(split == Split::kTest ? parts.test : parts.train), config, budget, passed_over, progress);
}

LoaderOptions loader_options(const Config& c) {
  return {{.micro_batch = c.train.micro_batch, .lanes = c.train.lanes, .seed = c.run.seed, .drop_last = c.data.drop_last, .augment = augment_steps(c.data)},
          c.data.loader_threads, c.data.prefetch};
}

}  // namespace tern::data
