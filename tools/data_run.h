#pragma once
#include <cstdint>
#include <vector>

#include "tools/augment.h"
#include "tools/config.h"
#include "tools/data_cifar.h"
#include "tools/data_loader.h"
#include "tools/data_set.h"
#include "tools/progress.h"

/// From a config's `data` section to data sets.
namespace tern::data {

/// The pictures of one run.
struct RunData {
  DatasetPtr train;       ///< after `limit` and without the pictures held out
  DatasetPtr validation;  ///< null when val_fraction is 0
  DatasetPtr test;        ///< always the whole test split
};

/// Opens and checks what `config` names: the first `limit` training pictures, of which `val_fraction` are then held out
/// by `seed`. Of a folder, what is held out is drawn before `limit`, and where it has no test/ it is the test, too.
/// Throws DataMissing, DataError or ConfigError as open_dataset, limit and split_validation, or the functions of
/// data_folder.h do. `progress` may be null.
RunData open_run_data(const DataConfig& config, uint64_t seed, Progress* progress = nullptr);

/// One split of what `config` names, as an evaluation wants it: without `limit`. `classes`: those that a checkpoint was
/// trained on, or empty; a folder of others is refused.
DatasetPtr open_split(const DataConfig& config, uint64_t seed, Split split, const std::vector<std::string>& classes, Progress* progress);

/// What the training's loader takes from a config. Cutout fills with what normalises to 0, as its paper does.
LoaderOptions loader_options(const Config& config);

}  // namespace tern::data
