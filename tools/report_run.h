#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/data_set.h"
#include "tools/evaluation.h"

namespace tern {

/// A run folder as the page shows it: name, data (and whether they are synthetic), config, env, summary, metrics, timing and
/// steps by columns, evaluation, network (layers_json with the shapes of each layer's tensors). What the folder does not have is null or empty: a run that was interrupted early has
/// little. Throws ConfigError when the folder holds no run.
nlohmann::ordered_json run_json(const std::filesystem::path& folder);

/// Rows of metrics.csv or timing.csv: {column: [numbers, null where empty]}; those from row `first` on.
nlohmann::ordered_json columns_json(const std::filesystem::path& csv, size_t first = 0);

/// steps.jsonl by columns. More than `most` lines become means of as many neighbouring ones as it takes.
nlohmann::ordered_json steps_json(const std::filesystem::path& jsonl, size_t most);

/// What was evaluated last, from predictions.csv and per_class.csv; nullopt where the run has none. `top5` is not known.
std::optional<Evaluation> read_predictions(const std::filesystem::path& folder);

/// The mistakes' pictures, or a string that says why there are none. `test`: the pictures that were evaluated; null: those that
/// the run's config names.
nlohmann::ordered_json run_mistakes_json(const std::filesystem::path& folder, data::DatasetPtr test);

}  // namespace tern
