// interop_gradients CONFIG.json WEIGHTS.safetensors OUT_PREFIX STEPS
//
// What the trainer's own step computes, for tests/interop/gradients.py to compare with PyTorch: for each of the first
// STEPS steps of the data, in the files' order and always from the same weights, OUT_PREFIX-N.safetensors gets the
// step's gradients under PyTorch's names and layouts. Eager, the lanes in one folded batch.
#include <cstdio>
#include <exception>
#include <string>

#include "nn/weights.h"
#include "tools/checkpoint.h"
#include "tools/data_cifar.h"
#include "tools/training_step.h"

namespace tern {
namespace {

void write_gradients(const std::string& path, TrainingStep& training) {
  // The modules' parameters are views of the master weights: with the gradients in their place, the writer of weights
  // writes gradients.
  training.store().master.copy_from(training.store().grads);
  std::vector<TensorSource> gradients;
  for (TensorSource& source : nn::weight_sources(training.network())) {
    for (const Segment& segment : training.store().segments())
      if (segment.name == source.name) gradients.push_back(std::move(source));
  }
  write_safetensors(path, gradients, {}, {.durable = false});
}

void run(const std::string& config_file, const std::string& weights_file, const std::string& prefix, int steps) {
  const Config config = load_config(config_file);
  Context::Options options;
  options.threads = config.run.threads;
  Context context(options);
  const data::DatasetPtr data = data::open_dataset(name_of(config.data.name), config.data.dir, data::Split::kTrain);
  data::Loader loader(data, {{.micro_batch = config.train.micro_batch, .lanes = config.train.lanes, .shuffle = false}});
  TrainingStep training(context, config, data->shape(), static_cast<int64_t>(data->classes().size()),
                        loader.steps_per_epoch(), {.plan = false});
  const SafetensorsFile weights = SafetensorsFile::open(weights_file);
  loader.start(0);
  for (int step = 0; step < steps; ++step) {
    nn::load_weights(training.network(), weights, kTrainingTensors);
    training.run(*loader.next());
    write_gradients(prefix + "-" + std::to_string(step) + ".safetensors", training);
  }
}

}  // namespace
}  // namespace tern

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: interop_gradients CONFIG.json WEIGHTS.safetensors OUT_PREFIX STEPS\n");
    return 2;
  }
  try {
    tern::run(argv[1], argv[2], argv[3], std::stoi(argv[4]));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "interop_gradients: %s\n", error.what());
    return 1;
  }
}
