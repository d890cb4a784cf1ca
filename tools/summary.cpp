#include "tools/summary.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "core/error.h"
#include "tools/data_cifar.h"
#include "tools/data_file.h"
#include "tools/data_run.h"
#include "tools/format.h"
#include "tools/json_text.h"
#include "tools/progress.h"
#include "tools/session.h"
#include "tools/training_step.h"

namespace tern {
namespace {

using nlohmann::ordered_json;

/// Shape, classes and number of the training pictures; the number only where they are there.
void look_at_data(const Config& config, TrainingSummary& summary) {
  try {
    const data::RunData data = data::open_run_data(config.data, config.run.seed);
    summary.pictures = data.train->shape();
    summary.classes = static_cast<int64_t>(data.train->classes().size());
    summary.training_pictures = data.train->size();
    summary.steps_per_epoch = data::steps_of(data.train->size(), summary.pictures_per_step, config.data.drop_last);
  } catch (const data::DataMissing&) {
    if (config.data.name == DataName::folder) throw;  // only the pictures tell how many classes there are
    summary.pictures = {32, 32, 3};
    summary.classes = data::cifar_format(name_of(config.data.name)).classes;
  }
}

/// Pictures that no two are alike of, with every label.
data::Batch made_up_batch(const TrainingSummary& summary, int micro_batch) {
  data::Batch batch;
  batch.micro_batch = micro_batch;
  for (int64_t i = 0; i < summary.pictures_per_step; ++i) {
    batch.indices.push_back(i);
    batch.labels.push_back(i % summary.classes);
  }
  batch.images.resize(static_cast<size_t>(summary.pictures_per_step * summary.pictures.bytes()));
  for (size_t i = 0; i < batch.images.size(); ++i) batch.images[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return batch;
}

double median_seconds(TrainingStep& training, const data::Batch& batch) {
  std::array<double, 3> seconds{};
  training.run(batch);  // the first replay touches the arena; a GPU captures its graph
  training.take_outcomes(true);
  for (double& s : seconds) {
    const auto start = std::chrono::steady_clock::now();
    training.run(batch);
    training.take_outcomes(true);
    s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::ranges::sort(seconds);
  return seconds[1];
}

void measure_memory(TrainingStep& training, TrainingSummary::Memory& memory) {
  const ParameterStore& store = training.store();
  memory.weights = static_cast<int64_t>(store.master.bytes() + (store.weights.defined() ? store.weights.bytes() : 0));
  memory.gradients = static_cast<int64_t>(store.grads.bytes());
  for (const StateTensor& state : training.state()) memory.optimizer += static_cast<int64_t>(state.tensor.bytes());
  for (const nn::Buffer& buffer : training.network().buffers()) memory.statistics += static_cast<int64_t>(buffer.tensor->bytes());
  for (const PlanStats& plan : training.plan_stats()) {  // they take turns in one arena
    memory.arena = std::max(memory.arena, static_cast<int64_t>(plan.arena_bytes));
    memory.without_reuse = std::max(memory.without_reuse, static_cast<int64_t>(plan.unplanned_bytes));
  }
}

/// "[N, 32, 32, 3]"
std::string extents(const Shape& shape) {
  std::string text = "[N";
  for (int axis = 1; axis < shape.rank(); ++axis) text += ", " + std::to_string(shape[axis]);
  return text + "]";
}

std::string layer_table(const TrainingSummary& s) {
  std::string text = format("%-24s %-16s %-18s %12s %12s\n", "layer", "type", "output", "parameters", "MFLOP");
  for (const nn::LayerInfo& layer : s.layers) {
    const std::string name = std::string(static_cast<size_t>(2 * layer.depth), ' ') + layer.name;
    text += format("%-24s %-16s %-18s %12s %12s\n", name.c_str(), (layer.type + (layer.fused ? " (fused)" : "")).c_str(),
                   extents(layer.output).c_str(), layer.parameters ? data::with_commas(layer.parameters).c_str() : "-",
                   layer.flops ? format("%.3f", 1e-6 * static_cast<double>(layer.flops)).c_str() : "-");
  }
  return text;
}

}  // namespace

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return format(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
}

std::optional<double> TrainingSummary::seconds_per_epoch() const {
  if (!seconds_per_step || !training_pictures) return std::nullopt;
  return *seconds_per_step * static_cast<double>(*training_pictures) / static_cast<double>(pictures_per_step);
}

TrainingSummary summarize(const Config& given, const std::string& name, bool probe) {
  Config config = given;
  Context context(context_options(config, choose_device(given.run)));
  TrainingSummary s;
  s.config = name;
  s.device = context.device().str();
  s.precision = name_of(config.run.precision);
  s.pictures_per_step = int64_t{config.train.lanes} * config.train.micro_batch;
  look_at_data(config, s);
  if (config.model.classes) s.classes = *config.model.classes;
  TrainingStep training(context, config, s.pictures, s.classes, s.steps_per_epoch.value_or(1000));
  const nn::Network& network = training.network();
  s.layers = network.layers();
  for (const nn::LayerInfo& layer : s.layers) s.parameters += layer.parameters;
  s.forward_flops = network.forward_flops();
  s.training_flops = network.training_flops();

  const data::Batch batch = made_up_batch(s, config.train.micro_batch);
  training.run(batch);  // records the plan
  training.take_outcomes(true);
  measure_memory(training, s.memory);
  if (probe) s.seconds_per_step = median_seconds(training, batch);
  return s;
}

std::string summary_text(const TrainingSummary& s) {
  const double forward = 1e-6 * static_cast<double>(s.forward_flops), training = 1e-6 * static_cast<double>(s.training_flops);
  const auto step = static_cast<double>(s.pictures_per_step);
  const TrainingSummary::Memory& m = s.memory;
  std::string text = s.config + ": pictures of " + std::to_string(s.pictures.height) + "x" + std::to_string(s.pictures.width) + "x" +
                     std::to_string(s.pictures.channels) + ", " + std::to_string(s.classes) + " classes; N is the batch\n\n" + layer_table(s);
  text += "\nparameters   " + data::with_commas(s.parameters) + "\n";
  text += format("operations   %.1f MFLOP a picture forward, %.1f forward and backward; %.2f GFLOP a step of %lld pictures\n", forward, training,
                 1e-3 * training * step, static_cast<long long>(s.pictures_per_step));
  text += "             (a multiply-add is two; convolutions and linear layers alone)\n";
  text += "memory       " + bytes_text(static_cast<double>(m.total())) + " on " + s.device + " in " + s.precision + ":\n";
  const auto part = [&](const char* what, int64_t bytes, const std::string& note) {
    text += format("             %-12s %12s", what, bytes_text(static_cast<double>(bytes)).c_str()) + note + "\n";
  };
  part("weights", m.weights, "");
  part("gradients", m.gradients, "");
  part("optimizer", m.optimizer, "");
  if (m.statistics) part("statistics", m.statistics, "");
  part("arena", m.arena, "  activations and workspaces of the recorded step (" + bytes_text(static_cast<double>(m.without_reuse)) + " without reuse)");
  if (!s.seconds_per_step) return text;
  text += format("time         %.1f ms a step, %.0f images/s, %.1f GFLOP/s", 1e3 * *s.seconds_per_step, step / *s.seconds_per_step,
                 1e-3 * training * step / *s.seconds_per_step);
  if (const auto epoch = s.seconds_per_epoch())
    text += "; " + duration_text(*epoch) + " an epoch of " + data::with_commas(*s.training_pictures) + " pictures, without data and evaluation\n";
  else
    text += "; an epoch cannot be told: the data are not there\n";
  return text;
}

ordered_json layers_json(const std::vector<nn::LayerInfo>& layers) {
  ordered_json rows = ordered_json::array();
  for (const nn::LayerInfo& layer : layers) {
    const auto shape = layer.output.extents().subspan(1);
    rows.push_back({{"name", layer.name}, {"type", layer.type}, {"depth", layer.depth}, {"fused", layer.fused},
                    {"output", std::vector<int64_t>(shape.begin(), shape.end())}, {"parameters", layer.parameters}, {"flops", layer.flops}});
  }
  return rows;
}

std::string summary_json(const TrainingSummary& s) {
  const auto optional = [](const auto& value) { return value ? ordered_json(*value) : ordered_json(nullptr); };
  const TrainingSummary::Memory& m = s.memory;
  const ordered_json object = {
      {"config", s.config},
      {"device", s.device},
      {"precision", s.precision},
      {"input", {s.pictures.height, s.pictures.width, s.pictures.channels}},
      {"classes", s.classes},
      {"layers", layers_json(s.layers)},
      {"parameters", s.parameters},
      {"flops_per_picture", {{"forward", s.forward_flops}, {"training", s.training_flops}}},
      {"pictures_per_step", s.pictures_per_step},
      {"memory",
       {{"weights", m.weights}, {"gradients", m.gradients}, {"optimizer", m.optimizer}, {"statistics", m.statistics}, {"arena", m.arena},
        {"arena_without_reuse", m.without_reuse}, {"total", m.total()}}},
      {"training_pictures", optional(s.training_pictures)},
      {"steps_per_epoch", optional(s.steps_per_epoch)},
      {"seconds_per_step", optional(s.seconds_per_step)},
      {"seconds_per_epoch", optional(s.seconds_per_epoch())},
  };
  return json_text(object, 2) + "\n";
}

}  // namespace tern
