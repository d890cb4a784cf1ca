#pragma once
#include <cstdint>
#include <vector>

#include "tools/augment.h"
#include "tools/config.h"
#include "tools/data_set.h"

/// From a config's `data` section to data sets.
namespace tern::data {

/// The pictures of one run.
struct RunData {
  DatasetPtr train;       ///< after `limit` and without the pictures held out
  DatasetPtr validation;  ///< null when val_fraction is 0
  DatasetPtr test;        ///< always the whole test split
};

/// Opens and checks what `config` names: the first `limit` training pictures, of which `val_fraction` are then held out
/// by `seed`. Throws DataMissing, DataError or ConfigError as open_dataset, limit and split_validation do.
RunData open_run_data(const DataConfig& config, uint64_t seed);

/// The config's augmentation for the loader. Cutout fills with what normalises to 0, as its paper does.
std::vector<Augment> augment_steps(const DataConfig& config);

}  // namespace tern::data
