#include "tools/open_checkpoint.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/parameter_store.h"
#include "nn/weights.h"
#include "tools/checkpoint.h"
#include "tools/data_cifar.h"
#include "tools/json_text.h"
#include "tools/model.h"

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

/// What the run said of its data besides what defines it: the checkpoint knows no paths, but config.json beside it does.
void add_run_data(const fs::path& file, DataConfig& data) {
  const fs::path config = fs::absolute(file).parent_path().parent_path() / "config.json";
  if (!fs::exists(config)) return;
  const DataConfig run = load_config(config.string()).data;
  data.dir = run.dir;
  data.bad_files = run.bad_files;
  data.cache_mb = run.cache_mb;
}

/// The config of bare weights: from a config file, or a preset's name with the defaults.
Config config_of_model(const std::string& model) {
  if (model.ends_with(".json")) return load_config(model);
  return parse_config(json_text(ordered_json{{"model", {{"name", model}}}}), "--model " + model);
}

/// With train.ema it is the average that a run evaluates: whoever asks for the trained network means that one.
void load_average(Context& context, nn::Network& network, const SafetensorsFile& file) {
  const TensorEntry* average = file.find("ema");
  if (!average) return;
  const ParameterStore store(context, network.parameters());
  if (average->spec != store.master.spec())
    throw DataError(file.name() + ": tensor 'ema' is " + average->spec.str() + ", this network wants " + store.master.spec().str());
  store.master.write_bytes(file.bytes(*average).data());
}

}  // namespace

OpenedCheckpoint open_checkpoint(const std::string& argument, const std::string& model) {
  const fs::path path = file_of(argument);
  SafetensorsFile file = SafetensorsFile::open(path);
  const bool bare = !file.metadata().contains("tern.format");
  if (bare && model.empty())
    throw ConfigError(path.string() + ": bare weights say nothing of their network; name it with --model NAME or --model CONFIG.json");
  if (bare || !model.empty()) return {argument, std::move(file), config_of_model(model)};
  CheckpointInfo info = read_checkpoint_info(file);
  add_run_data(path, info.config.data);
  return {argument, std::move(file), std::move(info.config), std::move(info.classes), info.pictures};
}

TrainedOn trained_on(const OpenedCheckpoint& checkpoint) {
  if (!checkpoint.classes.empty()) return {checkpoint.classes, checkpoint.pictures};
  const DataConfig& data = checkpoint.config.data;
  const bool folder = data.name == DataName::folder;
  TrainedOn terms{{}, folder ? data::PictureShape{data.size.height, data.size.width, 3} : data::PictureShape{32, 32, 3}};
  if (folder && !checkpoint.config.model.classes)
    throw ConfigError("model.classes: bare weights do not say how many classes there are; set it in the --model config");
  const int count = checkpoint.config.model.classes.value_or(folder ? 0 : data::cifar_format(name_of(data.name)).classes);
  for (int i = 0; i < count; ++i) terms.classes.push_back("class " + std::to_string(i));
  return terms;
}

std::unique_ptr<nn::Network> network_of(Context& context, const OpenedCheckpoint& checkpoint, const data::PictureShape& shape, int64_t classes) {
  auto network = build_model(context, checkpoint.config.model, {shape.height, shape.width, shape.channels}, classes, 0);
  nn::load_weights(*network, checkpoint.file, kTrainingTensors);
  load_average(context, *network, checkpoint.file);
  return network;
}

}  // namespace tern
