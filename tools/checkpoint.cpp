#include "tools/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "nn/weights.h"
#include "tools/data_cifar.h"
#include "tools/format.h"
#include "tools/json_text.h"

namespace tern {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kFormatVersion = 1;

json to_json(const TrainingPosition& p) {
  json j = {{"epoch", p.epoch}, {"step_in_epoch", p.step_in_epoch}, {"steps", p.steps}, {"loss_sum", p.loss_sum},
            {"correct", p.correct}, {"pictures", p.pictures}, {"skipped_in_a_row", p.skipped_in_a_row}, {"skipped", p.skipped},
            {"best_epoch", p.best_epoch}, {"epochs_without_gain", p.epochs_without_gain}};
  if (p.best) j["best"] = *p.best;
  if (p.best_acc) j["best_acc"] = *p.best_acc;
  if (p.stop_best) j["stop_best"] = *p.stop_best;
  return j;
}

TrainingPosition position_from(const json& j) {
  for (const char* key : {"epoch", "step_in_epoch", "steps", "correct", "pictures", "skipped_in_a_row", "skipped",
                          "epochs_without_gain"})
    if (!j.at(key).is_number_unsigned()) throw ConfigError(std::string(key) + " is " + j[key].dump() + ", wanted a count");
  TrainingPosition p;
  p.epoch = j.at("epoch");
  p.step_in_epoch = j.at("step_in_epoch");
  p.steps = j.at("steps");
  p.loss_sum = j.at("loss_sum");
  p.correct = j.at("correct");
  p.pictures = j.at("pictures");
  p.skipped_in_a_row = j.at("skipped_in_a_row");
  p.skipped = j.at("skipped");
  p.best_epoch = j.at("best_epoch");
  p.epochs_without_gain = j.at("epochs_without_gain");
  if (j.contains("best")) p.best = j["best"].get<double>();
  if (j.contains("best_acc")) p.best_acc = j["best_acc"].get<double>();
  if (j.contains("stop_best")) p.stop_best = j["stop_best"].get<double>();
  return p;
}

const std::string& metadata_at(const SafetensorsFile& file, const std::string& key) {
  const auto it = file.metadata().find(key);
  if (it == file.metadata().end()) throw DataError(file.name() + ": no checkpoint of tern: its metadata has no '" + key + "'");
  return it->second;
}

/// Reads the metadata under `key`; what is wrong with it is the file's fault.
template <class Read>
void read_metadata(const SafetensorsFile& file, const std::string& key, const Read& read) {
  const std::string& text = metadata_at(file, key);
  const std::string damaged = file.name() + ": damaged metadata: " + key + ": ";
  try {
    read(text);
  } catch (const json::exception& error) {
    throw DataError(damaged + error.what());
  } catch (const ConfigError& error) {
    throw DataError(damaged + error.what());
  }
}

/// Gives `path` the content of `source` in one step: a hard link under another name, renamed.
void link_to(const fs::path& source, const fs::path& path) {
  const fs::path temporary = path.string() + ".tmp";
  std::error_code ignored, error;
  fs::remove(temporary, ignored);
  fs::create_hard_link(source, temporary, error);
  if (error) fs::copy_file(source, temporary, fs::copy_options::overwrite_existing);
  fs::rename(temporary, path);
  fs::remove(temporary, ignored);  // rename() of two links to one file does nothing and leaves both
}

}  // namespace

const std::vector<std::string> kTrainingTensors = {"optimizer.", "ema", "loss_scale."};

void save_checkpoint(const fs::path& path, TrainingStep& training, const CheckpointInfo& info) {
  std::vector<TensorSource> sources = nn::weight_sources(training.network());
  for (const StateTensor& s : training.state()) sources.push_back(tensor_source(s.name, s.tensor));
  const json data = {{"name", info.data_name}, {"classes", info.classes},
                     {"shape", {info.pictures.height, info.pictures.width, info.pictures.channels}}};
  const Metadata metadata = {{"tern.format", std::to_string(kFormatVersion)},
                             {"tern.run", defining_json(info.config)},
                             {"tern.data", json_text(data)},
                             {"tern.position", to_json(info.position).dump()}};
  write_safetensors(path, sources, metadata);
}

CheckpointInfo read_checkpoint_info(const SafetensorsFile& file) {
  const std::string& format = metadata_at(file, "tern.format");
  int version = 0;
  const char* end = format.data() + format.size();
  const auto [stop, error] = std::from_chars(format.data(), end, version);
  if (error != std::errc() || stop != end || version < 1)
    throw DataError(file.name() + ": checkpoint format '" + format + "' is no number from 1");
  if (version > kFormatVersion)
    throw NewerCheckpointError(file.name() + ": checkpoint format " + format + " is newer than " + std::to_string(kFormatVersion) +
                    ", the newest this tern reads; use a newer tern");
  CheckpointInfo info;
  read_metadata(file, "tern.run", [&](const std::string& text) {
    info.config = parse_config(text, file.name() + " (tern.run)");
  });
  read_metadata(file, "tern.data", [&](const std::string& text) {
    const json data = json::parse(text);
    info.data_name = data.at("name");
    if (info.data_name != name_of(DataName::folder)) data::cifar_format(info.data_name);  // throws where tern has no such data
    info.classes = data.at("classes").get<std::vector<std::string>>();
    const auto shape = data.at("shape").get<std::array<int, 3>>();
    info.pictures = {shape[0], shape[1], shape[2]};
  });
  read_metadata(file, "tern.position", [&](const std::string& text) { info.position = position_from(json::parse(text)); });
  return info;
}

TrainingPosition load_checkpoint(const SafetensorsFile& file, const Config& config, TrainingStep& training) {
  const CheckpointInfo info = read_checkpoint_info(file);
  const auto differences = defining_differences(metadata_at(file, "tern.run"), config);
  if (!differences.empty()) {
    std::string what = file.name() + " is a checkpoint of another run:";
    for (const ConfigDifference& d : differences) what += "\n  " + d.path + ": " + d.stored + " there, " + d.wanted + " here";
    throw ConfigError(what);
  }
  // Checked as a whole before anything is overwritten.
  const auto state = training.state();
  for (const StateTensor& s : state) {
    const TensorEntry& entry = file.at(s.name);
    if (entry.spec != s.tensor.spec())
      throw DataError(file.name() + ": tensor '" + s.name + "' is " + entry.spec.str() + ", this run wants " + s.tensor.spec().str());
    file.bytes(entry);
  }
  nn::load_weights(training.network(), file, kTrainingTensors);
  for (const StateTensor& s : state) {
    const auto bytes = file.bytes(file.at(s.name));
    s.tensor.write_bytes(bytes.data());
  }
  training.weights_changed();
  training.set_steps(info.position.steps);
  return info.position;
}

CheckpointFolder::CheckpointFolder(fs::path folder, int keep) : folder_(std::move(folder)), keep_(std::max(keep, 1)) {
  fs::create_directories(folder_);
}

std::vector<fs::path> CheckpointFolder::numbered() const {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".safetensors")) files.push_back(entry.path());
  }
  std::ranges::sort(files, std::greater<>());  // numbers have leading zeros
  return files;
}

void CheckpointFolder::save(TrainingStep& training, const CheckpointInfo& info, bool best) {
  const fs::path file = folder_ / format("step-%010lld.safetensors", static_cast<long long>(info.position.steps));
  save_checkpoint(file, training, info);
  link_to(file, folder_ / "last.safetensors");
  if (best) link_to(file, folder_ / "best.safetensors");
  const auto files = numbered();
  for (size_t i = static_cast<size_t>(keep_); i < files.size(); ++i) {
    std::error_code ignored;
    fs::remove(files[i], ignored);
  }
}

void CheckpointFolder::relink(const fs::path& file, bool best) {
  auto link = [&](const char* name) {
    std::error_code absent;
    if (!fs::equivalent(file, folder_ / name, absent)) link_to(file, folder_ / name);
  };
  link("last.safetensors");
  if (best) link("best.safetensors");
}

std::optional<SafetensorsFile> CheckpointFolder::newest_valid(const std::function<void(const std::string&)>& warn) const {
  std::vector<fs::path> files = numbered();
  if (fs::exists(folder_ / "last.safetensors")) files.push_back(folder_ / "last.safetensors");
  for (const fs::path& path : files) {
    try {
      SafetensorsFile file = SafetensorsFile::open(path);
      read_checkpoint_info(file);
      for (const TensorEntry& entry : file.entries()) file.bytes(entry);
      return file;
    } catch (const NewerCheckpointError&) {
      throw;
    } catch (const DataError& error) {
      warn(std::string("checkpoint passed over: ") + error.what());
    }
  }
  if (!files.empty()) throw DataError(folder_.string() + ": every checkpoint is damaged; remove them to start anew");
  return std::nullopt;
}

}  // namespace tern
