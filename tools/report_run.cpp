#include "tools/report_run.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "core/error.h"
#include "nn/safetensors.h"
#include "tools/checkpoint.h"
#include "tools/csv.h"
#include "tools/data_run.h"
#include "tools/model.h"
#include "tools/report_pictures.h"
#include "tools/run_folder.h"
#include "tools/summary.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The file's JSON, or null where it is not there or not whole.
ordered_json json_of(const fs::path& path) {
  ordered_json value = ordered_json::parse(text_of(path), nullptr, false);
  return value.is_discarded() ? ordered_json(nullptr) : value;
}

ordered_json finite(std::optional<double> value) { return value && std::isfinite(*value) ? ordered_json(*value) : ordered_json(nullptr); }

/// Every layer with its output, and the shapes that its tensors have in the run's last checkpoint.
ordered_json network_json(const fs::path& folder, const Config& config) {
  const fs::path last = folder / "checkpoints" / "last.safetensors";
  if (!fs::exists(last)) return nullptr;
  const SafetensorsFile file = SafetensorsFile::open(last);
  const CheckpointInfo info = read_checkpoint_info(file);
  Context context({.threads = 1});
  const auto network = build_model(context, config.model, {info.pictures.height, info.pictures.width, info.pictures.channels},
                                   std::ssize(info.classes), config.run.seed);
  const std::set<std::string_view> statistics{"running_mean", "running_var", "num_batches_tracked"};
  std::map<std::string, ordered_json> shapes;  // by layer, then by tensor
  for (const TensorEntry& entry : file.entries()) {
    const size_t dot = entry.name.rfind('.');
    if (dot == std::string::npos || statistics.contains(entry.name.substr(dot + 1))) continue;
    shapes[entry.name.substr(0, dot)][entry.name.substr(dot + 1)] = entry.spec.shape.str();
  }
  ordered_json rows = layers_json(network->layers());
  int64_t total = 0;
  for (ordered_json& row : rows) {
    const auto found = shapes.find(row["name"].get<std::string>());
    row["shapes"] = found == shapes.end() ? ordered_json::object() : found->second;
    total += row["parameters"].get<int64_t>();
  }
  return {{"model", config.model.layers.empty() ? std::string(name_of(config.model.name)) : "layers"},
          {"input", {info.pictures.height, info.pictures.width, info.pictures.channels}},
          {"classes", info.classes.size()}, {"parameters", total}, {"flops", network->forward_flops()}, {"layers", rows}};
}

}  // namespace

ordered_json columns_json(const fs::path& csv, size_t first) {
  const CsvTable table = read_csv(csv);
  ordered_json columns = ordered_json::object();
  for (const std::string& name : table.columns) {
    ordered_json& values = columns[name] = ordered_json::array();
    for (size_t row = first; row < table.rows.size(); ++row) values.push_back(finite(table.number(row, name)));
  }
  return columns;
}

ordered_json steps_json(const fs::path& jsonl, size_t most) {
  const std::vector<std::string> names{"epoch", "step", "loss", "accuracy", "lr", "grad_norm", "images_per_s"};
  std::vector<ordered_json> lines;
  std::ifstream in(jsonl);
  for (std::string line; std::getline(in, line);) {
    ordered_json object = ordered_json::parse(line, nullptr, false);
    if (!in.eof() && object.is_object()) lines.push_back(std::move(object));
  }
  const size_t each = std::max<size_t>(1, (lines.size() + most - 1) / std::max<size_t>(most, 1));
  ordered_json columns = {{"mean_of", each}};
  for (const std::string& name : names) {
    ordered_json& values = columns[name] = ordered_json::array();
    for (size_t i = 0; i < lines.size(); i += each) {
      double sum = 0;
      int count = 0;
      for (size_t k = i; k < std::min(i + each, lines.size()); ++k)
        if (const auto value = lines[k].find(name); value != lines[k].end() && value->is_number()) {
          sum += value->get<double>();
          ++count;
        }
      values.push_back(count ? ordered_json(sum / count) : ordered_json(nullptr));
    }
  }
  return columns;
}

std::optional<Evaluation> read_predictions(const fs::path& folder) {
  const CsvTable classes = read_csv(folder / "per_class.csv"), table = read_csv(folder / "predictions.csv");
  if (table.rows.empty() || classes.rows.empty()) return std::nullopt;
  Evaluation evaluation;
  std::map<std::string, int32_t> numbers;
  for (size_t i = 0; i < classes.rows.size(); ++i) {
    evaluation.classes.push_back(classes.text(i, "class"));
    numbers.emplace(classes.text(i, "class"), static_cast<int32_t>(i));
  }
  const auto number = [&](const std::string& name) {
    const auto found = numbers.find(name);
    return found == numbers.end() ? -1 : found->second;
  };
  double loss = 0;
  int64_t correct = 0;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    Prediction p{.label = number(table.text(i, "label")), .predicted = number(table.text(i, "predicted"))};
    if (p.label < 0) throw DataError((folder / "predictions.csv").string() + ": row " + std::to_string(i + 1) + " has the label \"" + table.text(i, "label") + "\", which per_class.csv does not know");
    p.probability = static_cast<float>(table.number(i, "probability").value_or(NAN));
    p.loss = static_cast<float>(table.number(i, "loss").value_or(NAN));
    loss += p.loss;
    correct += p.label == p.predicted;
    evaluation.predictions.push_back(p);
  }
  const auto n = static_cast<double>(table.rows.size());
  evaluation.loss = loss / n;
  evaluation.top1 = static_cast<double>(correct) / n;
  return evaluation;
}

ordered_json run_json(const fs::path& folder) {
  if (!RunFolder::holds_run(folder)) throw ConfigError(folder.string() + ": holds no run (no config.json)");
  const Config config = load_config((folder / "config.json").string());
  const ordered_json summary = json_of(folder / "summary.json");
  std::string name = fs::absolute(folder).lexically_normal().filename().string();
  if (name.empty()) name = fs::absolute(folder).lexically_normal().parent_path().filename().string();
  const std::string data = summary.is_object() ? summary.value("data", std::string(name_of(config.data.name))) : std::string(name_of(config.data.name));
  ordered_json network;
  try {
    network = network_json(folder, config);
  } catch (const Error& error) {
    network = nullptr;  // a damaged checkpoint costs the table of layers, not the report
  }
  constexpr size_t kMostSteps = 1500;
  return {{"name", name}, {"folder", folder.string()}, {"data", data}, {"synthetic", config.data.name == DataName::synthetic},
          {"epochs", config.train.epochs}, {"config", text_of(folder / "config.json")}, {"env", json_of(folder / "env.json")},
          {"summary", summary}, {"metrics", columns_json(folder / "metrics.csv")}, {"timing", columns_json(folder / "timing.csv")},
          {"steps", steps_json(folder / "steps.jsonl", kMostSteps)}, {"eval", json_of(folder / "eval.json")}, {"network", std::move(network)}};
}

ordered_json run_mistakes_json(const fs::path& folder, data::DatasetPtr test) {
  try {
    const std::optional<Evaluation> evaluation = read_predictions(folder);
    if (!evaluation) return "no predictions.csv in the run folder";
    if (!test) {
      const Config config = load_config((folder / "config.json").string());
      test = data::open_run_data(config.data, config.run.seed).test;
    }
    if (!same_pictures(*evaluation, *test)) return "the data set's test pictures are not those that were evaluated";
    return mistakes_json(*evaluation, *test);
  } catch (const Error& error) {
    return std::string(error.what());
  }
}

}  // namespace tern
