#include "tools/open_checkpoint.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tools/checkpoint.h"
#include "tools/json_text.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

fs::path file_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    throw DataError(path.string() + ": no such checkpoint" + (error ? " (" + error.message() + ")" : ""));
  if (!fs::is_directory(status)) return path;
  for (const char* name : {"checkpoints/best.safetensors", "checkpoints/last.safetensors", "best.safetensors", "last.safetensors"})
    if (fs::exists(path / name)) return path / name;
  throw DataError(path.string() + ": holds no best.safetensors or last.safetensors");
}

/// The run's own data folder stands in config.json beside the checkpoints; the checkpoint itself knows no paths.
std::string data_dir_of(const fs::path& file) {
  const fs::path config = fs::absolute(file).parent_path().parent_path() / "config.json";
  return fs::exists(config) ? load_config(config.string()).data.dir : "data";
}

/// The config of bare weights: from a config file, or a preset's name with the defaults.
Config config_of_model(const std::string& model) {
  if (model.ends_with(".json")) return load_config(model);
  return parse_config(json_text(ordered_json{{"model", {{"name", model}}}}), "--model " + model);
}

}  // namespace

OpenedCheckpoint open_checkpoint(const std::string& argument, const std::string& model) {
  const fs::path path = file_of(argument);
  SafetensorsFile file = SafetensorsFile::open(path);
  const bool bare = !file.metadata().contains("tern.format");
  if (bare && model.empty())
    throw ConfigError(path.string() + ": bare weights say nothing of their network; name it with --model NAME or --model CONFIG.json");
  if (bare || !model.empty()) {
    Config config = config_of_model(model);
    return {argument, std::move(file), config, std::string(name_of(config.data.name)), config.data.dir, {}, {}};
  }
  CheckpointInfo info = read_checkpoint_info(file);
  return {argument, std::move(file), info.config, info.data_name, data_dir_of(path), info.classes, info.pictures};
}

}  // namespace tern
