// Configs that trainer must refuse: exit 2 with file, line and key.
#include "tests/malformed.h"

namespace tern::test {
namespace {

/// A config and its message behind the file's name.
struct Config {
  std::string text, says;
};

Case config_case(const std::string& text, const std::string& says) {
  return {{"trainer", "bad.json", "--out", "none", "--progress", "none"},
          2,
          says,
          [text](const Workbench& bench) { write_file(bench / "bad.json", text); }};
}

std::vector<Case> cases_of(const std::vector<Config>& configs) {
  std::vector<Case> cases;
  for (const auto& [text, says] : configs) cases.push_back(config_case(text, "bad.json:" + says));
  return cases;
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

std::vector<Config> texts_and_keys() {
  return {
      {"", "1:1: not valid JSON: while parsing value - unexpected end"},
      {"[]", "1: the config: got a list of 0, wanted an object"},
      {"7", "1: the config: got 7, wanted an object"},
      {"{\"train\": {\"epochs\": 1,}}", "1:24: not valid JSON"},
      {"{\n\"train\": NaN}", "2:10: not valid JSON"},
      {"{\n\"train\": {},\n\"run\": {}", "3:10: not valid JSON"},
      {"{} {}", "1:4: not valid JSON"},
      {"{\"optim\": {\"lr\": 1e999}}", "1:22: not valid JSON: number overflow"},
      {"{\"\xff\": 1}", "1:3: not UTF-8"},
      {std::string("{}\n\0{}", 6), "2:1: a NUL byte in JSON"},
      {repeated("[", 40), "1:33: nested deeper than 32"},
      {"{\"" + repeated("k", 101) + "\": 1}", "1:104: a key of 101 bytes, wanted at most 100"},
      {"[" + repeated("0,", 20000) + "0]", "1:40001: more than 20000 values"},
      {repeated(" ", (1 << 20) + 1), " wanted at most 1048576 bytes"},
      {"{\"train\": {}, \"train\": {}}", "1:21: train: the key occurs twice (first at bad.json:1)"},
      {"{\"data\": {\"dir\": \"a\",\n\"dir\": \"b\"}}", "2:5: data.dir: the key occurs twice (first at bad.json:1)"},
      {R"({"trian": {}})", R"(1: trian: unknown key; did you mean "train"?)"},
      {"{\"train\":\n{\"epoch\": 1}}", R"(2: train.epoch: unknown key; did you mean "epochs"?)"},
      {R"({"epochs": 3})", R"(1: epochs: unknown key; did you mean "train.epochs"?)"},
      {R"({"log": {"wandb": true}})", "1: log.wandb: unknown key; known here: every_steps, csv"},
      {R"({"optim": {"momentum": 0.9}})", R"(1: optim.momentum: does not apply to optim.name "adamw" (only to: sgd, muon))"},
      {R"({"schedule": {"name": "cosine", "max_lr": 1}})", R"(1: schedule.max_lr: does not apply to schedule.name "cosine")"},
      {R"({"data": {"augment": [{"pad": 2}]}})", "1: data.augment.0.name: is missing, wanted"},
      {R"({"data": {"augment": [{"name": "flip", "pad": 2}]}})", "1: data.augment.0.pad: does not apply to"},
      {R"({"train": 3})", "1: train: got 3, wanted an object"},
  };
}

std::vector<Config> values() {
  return {
      {R"({"model": {"name": 3}})", "1: model.name: got 3, wanted one of"},
      {R"({"model": {"name": "vgg"}})", R"(1: model.name: got "vgg", wanted one of "cifar-cnn", "lenet")"},
      {R"({"model": {"dropout": 1}})", "1: model.dropout: got 1, wanted a number of at least 0 and below 1"},
      {R"({"model": {"convs_per_block": 3}})", "1: model.convs_per_block: got 3, wanted an integer from 1 to 2"},
      {R"({"model": {"classes": 9}})", "1: model.classes: got 9, but cifar10 has 10"},
      {R"({"model": {"init": "zero"}})", R"(1: model.init: got "zero", wanted one of "default", "kaiming")"},
      {R"({"data": {"name": "mnist"}})", R"(1: data.name: got "mnist", wanted one of "cifar10")"},
      {R"({"data": {"dir": ""}})", "1: data.dir: got \"\", wanted a string that is not empty"},
      {R"({"data": {"normalize": {"mean": [0.5, 0.5]}}})", "1: data.normalize.mean: got a list of 2, wanted a list of 3"},
      {R"({"data": {"normalize": {"std": [1, 1, 0]}}})", "1: data.normalize.std.2: got 0, wanted a number above 0"},
      {R"({"data": {"augment": {"name": "flip"}}})", "1: data.augment: got an object, wanted a list"},
      {R"({"data": {"augment": [{"name": "mixup"}]}})", R"(1: data.augment.0.name: got "mixup", wanted one of "crop")"},
      {R"({"data": {"augment": [{"name": "flip"}, {"name": "crop", "pad": 32}]}})", "1: data.augment.1.pad: got 32, wanted"},
      {R"({"data": {"augment": [{"name": "crop", "mode": "wrap"}]}})", R"(1: data.augment.0.mode: got "wrap", wanted)"},
      {R"({"data": {"augment": [{"name": "flip", "p": 1.5}]}})", "1: data.augment.0.p: got 1.5, wanted a number from 0 to 1"},
      {R"({"data": {"augment": [{"name": "cutout", "size": 0}]}})", "1: data.augment.0.size: got 0, wanted"},
      {R"({"data": {"val_fraction": 1}})", "1: data.val_fraction: got 1, wanted a number of at least 0 and below 1"},
      {R"({"data": {"limit": 0}})", "1: data.limit: got 0, wanted an integer from 1 to 1000000000, or null"},
      {R"({"data": {"limit": 100, "drop_last": true}})", "1: data.limit: got 100, less than one step of 128 images"},
      {R"({"data": {"drop_last": "yes"}})", R"(1: data.drop_last: got "yes", wanted true or false)"},
      {R"({"data": {"loader_threads": -1}})", "1: data.loader_threads: got -1, wanted an integer from 0 to 256"},
      {R"({"data": {"prefetch": 0}})", "1: data.prefetch: got 0, wanted an integer from 1 to 1024"},
      {R"({"train": {"lanes": 0}})", "1: train.lanes: got 0, wanted an integer from 1 to 4096"},
      {R"({"train": {"epochs": 1.5}})", "1: train.epochs: got 1.5, wanted an integer"},
      {R"({"train": {"micro_batch": "32"}})", R"(1: train.micro_batch: got "32", wanted an integer)"},
      {R"({"train": {"label_smoothing": 1}})", "1: train.label_smoothing: got 1, wanted"},
      {R"({"train": {"loss": "total"}})", R"(1: train.loss: got "total", wanted one of "mean", "sum")"},
      {R"({"train": {"tta": "crop"}})", R"(1: train.tta: got "crop", wanted one of "none", "flip", "flip_shift")"},
      {R"({"train": {"loss_scale": 0}})", "1: train.loss_scale: got 0, wanted a number from 1 to 16777216"},
      {R"({"optim": {"name": "muon", "ns_steps": 0}})", "1: optim.ns_steps: got 0, wanted an integer from 1 to 20"},
      {R"({"optim": {"name": "sgd", "fixed_norm": true}})", R"(1: optim.fixed_norm: does not apply to optim.name "sgd")"},
      {R"({"train": {"clip_norm": 0}})", "1: train.clip_norm: got 0, wanted a number above 0, or null"},
      {R"({"train": {"ema": 1}})", "1: train.ema: got 1, wanted a number above 0 and below 1, or null"},
      {R"({"train": {"nonfinite": "skip"}})", R"(1: train.nonfinite: got "skip", wanted "stop" or "skip:K")"},
      {R"({"train": {"nonfinite": "skip:0"}})", R"(1: train.nonfinite: got "skip:0", wanted)"},
      {R"({"train": {"early_stop": true}})", "1: train.early_stop: got true, wanted an object"},
      {R"({"train": {"early_stop": {"metric": "speed"}}})", R"(1: train.early_stop.metric: got "speed", wanted one of)"},
      {R"({"train": {"early_stop": {"patience": 0}}})", "1: train.early_stop.patience: got 0, wanted"},
      {R"({"train": {"early_stop": {"metric": "val_loss"}}})",
       R"(1: train.early_stop.metric: got "val_loss", which needs data.val_fraction above 0)"},
      {R"({"run": {"seed": 18446744073709551616}})", "1: run.seed: got 1.8446744073709552e+19, wanted an integer"},
      {R"({"run": {"device": "gpu"}})", R"(1: run.device: got device "gpu", wanted)"},
      {R"({"run": {"precision": "fp64"}})", R"(1: run.precision: got "fp64", wanted one of "auto", "fp32")"},
      {R"({"run": {"device": "cpu", "precision": "bf16"}})", "1: run.precision: precision bf16 needs CUDA"},
      {R"({"run": {"threads": 5000}})", "1: run.threads: got 5000, wanted an integer from 0 to 4096"},
      {R"({"log": {"every_steps": 0}})", "1: log.every_steps: got 0, wanted"},
      {R"({"log": {"tensorboard": "yes"}})", R"(1: log.tensorboard: got "yes", wanted)"},
      {R"({"checkpoint": {"keep": 0}})", "1: checkpoint.keep: got 0, wanted"},
      {R"({"checkpoint": {"best": "loss"}})", R"(1: checkpoint.best: got "loss", wanted one of "train_loss")"},
      {R"({"checkpoint": {"best": "val_acc"}})", R"(1: checkpoint.best: got "val_acc", which needs data.val_fraction)"},
      {R"({"checkpoint": {"every_steps": 0}})", "1: checkpoint.every_steps: got 0, wanted"},
  };
}

std::vector<Config> optimizers() {
  return {
      {R"({"optim": "adamw"})", R"(1: optim: got "adamw", wanted)"},
      {R"({"optim": []})", "1: optim: got an empty list, wanted at least one group"},
      {R"({"optim": [{}, 5]})", "1: optim.1: got 5, wanted an object"},
      {R"({"optim": {"name": "adam"}})", R"(1: optim.name: got "adam", wanted one of "adamw", "sgd")"},
      {R"({"optim": {"lr": "fast"}})", R"(1: optim.lr: got "fast", wanted a number above 0)"},
      {R"({"optim": {"lr": 0}})", "1: optim.lr: got 0, wanted a number above 0"},
      {R"({"optim": {"betas": [0.9, 1]}})", "1: optim.betas.1: got 1, wanted"},
      {R"({"optim": {"weight_decay": -0.1}})", "1: optim.weight_decay: got -0.1, wanted a number of at least 0"},
      {R"({"optim": {"frozen_after": -1}})", "1: optim.frozen_after: got -1, wanted"},
      {R"({"optim": {"name": "sgd", "nesterov": true}})", "1: optim.nesterov: needs momentum above 0"},
      {R"({"optim": [{"params": "a*"}, {"params": "a*"}]})", R"(1: optim.1.params: got "a*", which group 0 has already)"},
      {R"({"optim": [{"schedule": {"name": "step", "gamma": 0}}]})", "1: optim.0.schedule.gamma: got 0, wanted"},
      {R"({"schedule": {"name": "warm"}})", R"(1: schedule.name: got "warm", wanted one of "onecycle", "cosine")"},
      {R"({"schedule": {"name": "onecycle"}})", "1: schedule.name: onecycle needs max_lr beside it"},
      {R"({"schedule": {"pct_start": 1}})", "1: schedule.pct_start: got 1, wanted"},
      {R"({"schedule": {"three_phase": true, "pct_start": 0.6}})", "1: schedule.pct_start: got 0.6, wanted below 0.5"},
      {R"({"schedule": {"name": "cosine", "min_lr": 2}})", "1: schedule.min_lr: got 2.0, wanted at most the group's lr 0.001"},
      {R"({"schedule": {"name": "step", "step_size": 0}})", "1: schedule.step_size: got 0, wanted"},
      {R"({"schedule": {"name": "linear", "end_factor": 2}})", "1: schedule.end_factor: got 2, wanted a number from 0 to 1"},
      {R"({"schedule": {"name": "linear", "decay_epochs": 0}})", "1: schedule.decay_epochs: got 0, wanted"},
      {R"({"schedule": {"name": "constant", "warmup_steps": 1, "warmup_epochs": 1}})",
       "1: schedule.warmup_epochs: warmup_steps is given too: wanted one"},
      {R"({"schedule": {"name": "constant", "warmup_epochs": 25}})",
       "1: schedule.warmup_epochs: got 25.0, wanted below train.epochs 25"},
  };
}

/// Layers, and the message behind the layer's place.
std::vector<Config> layers() {
  return {
      {R"({"name": "a"})", "model.layers.0.type: is missing, wanted one of avg_pool, batch_norm"},
      {R"({"type": "conv3d"})", "model.layers.0.type: unknown layer type 'conv3d'; did you mean 'conv2d'?"},
      {R"({"type": 3})", "model.layers.0.type: got 3, wanted a string"},
      {R"({"type": "relu"}, {"type": "relu", "out": 3})", "model.layers.1.out: unknown key 'out'"},
      {R"({"type": "conv2d", "name": "c", "kernel": 3})", "layer 'c' (conv2d) wants 'out', the number of its channels"},
      {R"({"type": "conv2d", "out": 1048577, "kernel": 3})", "model.layers.0.out: got 1048577, wanted a whole number"},
      {R"({"type": "conv2d", "out": 4, "kernel": [1, 2, 3]})", "model.layers.0.kernel: got [1,2,3], wanted a number or"},
      {R"({"type": "conv2d", "out": 4, "kernel": 3, "padding": -1})", "model.layers.0.padding: got -1, wanted"},
      {R"({"type": "conv2d", "out": 4, "kernel": 3, "bias": 1})", "model.layers.0.bias: got 1, wanted true or false"},
      {R"({"type": "conv2d", "out": 4})", "layer 'conv2d1' (conv2d) wants kernel, stride and dilation over 0"},
      {R"({"type": "conv2d", "name": "b", "out": 4, "kernel": 99})", "layer 'b' (conv2d) does not fit its input [1, 32, 32, 3]"},
      {R"({"type": "conv2d", "name": "g", "out": 4, "kernel": 1, "groups": 2})",
       "layer 'g' (conv2d) has groups 2 that do not divide its channels 3 and 4"},
      {R"({"type": "conv2d", "name": "w", "out": 24, "kernel": 2, "init": "unit_std"})", "layer 'w' (conv2d) has no init \"unit_std\": conv2d has dirac and whiten"},
      {R"({"type": "conv2d", "name": "w", "out": 23, "kernel": 2, "init": "whiten"})", "layer 'w' (conv2d) has init \"whiten\": wants 'out' 24"},
      {R"({"type": "relu"}, {"type": "conv2d", "name": "w", "out": 24, "kernel": 2, "init": "whiten"})",
       "layer 'w' (conv2d) has init \"whiten\", which only the first layer can have"},
      {R"({"type": "scale", "factor": "big"})", "model.layers.0.factor: got \"big\", wanted a number"},
      {R"({"type": "linear", "name": "l", "out": 10})",
       "layer 'l' (linear) wants features [N, C], gets [1, 32, 32, 3]: put flatten or global_avg_pool in front"},
      {R"({"type": "flatten"}, {"type": "conv2d", "out": 1, "kernel": 1})", "layer 'conv2d1' (conv2d) wants a picture"},
      {R"({"type": "max_pool", "kernel": [2, 3]})", "layer 'max_pool1' (max_pool) wants one number each for kernel"},
      {R"({"type": "avg_pool", "kernel": 2, "padding": 2})", "layer 'avg_pool1' (avg_pool) wants padding of at most half"},
      {R"({"type": "dropout", "p": 1})", "layer 'dropout1' (dropout) wants p in [0, 1), got 1.0"},
      {R"({"type": "batch_norm", "eps": 0})", "layer 'batch_norm1' (batch_norm) wants eps over 0, got 0.0"},
      {R"({"type": "batch_norm", "momentum": 7})", "layer 'batch_norm1' (batch_norm) wants momentum in [0, 1], got 7.0"},
      {R"({"type": "residual", "body": 5})", "model.layers.0.body: got 5, wanted an array of layers"},
      {R"({"type": "residual", "body": [{"type": "tanj"}]})", "model.layers.0.body.0.type: unknown layer type 'tanj'"},
      {R"({"type": "residual", "name": "r", "body": [{"type": "conv2d", "out": 4, "kernel": 3}]})",
       "layer 'r' (residual) has branches of different shapes: body [1, 30, 30, 4], shortcut [1, 32, 32, 3]"},
      {R"({"type": "residual", "activation": "step"})", "layer 'residual1' (residual) has no activation 'step'"},
      {R"({"type": "batch_norm", "name": "n"}, {"type": "batch_norm", "name": "n"})",
       "[model] two layers have a tensor 'n.weight': give them different names"},
      {R"({"type": "global_avg_pool"}, {"type": "linear", "out": 7})", "[1, 7] a picture, the data has 10 classes"},
      {R"({"type": "flatten"}, {"type": "linear", "name": "h", "out": 1048576})",
       "layer 'h' (linear) is too large: its weight [1048576, 3072] has more than 2^30 elements"},
      {R"({"type": "conv2d", "name": "w", "out": 1048576, "kernel": [32, 32]})",
       "layer 'w' (conv2d) is too large: its weight [1048576, 32, 32, 3] has more than 2^30 elements"},
      {R"({"type": "conv2d", "name": "p", "out": 1, "kernel": 1, "padding": 1048576})",
       "layer 'p' (conv2d) is too large: its output [1, 2097184, 2097184, 1] has more than 2^30 elements"},
      {R"({"type": "conv2d", "name": "q", "out": 1048576, "kernel": 1, "padding": 1048576})",
       "layer 'q' (conv2d) is too large: [shape] too many elements"},
  };
}

}  // namespace

std::vector<Case> malformed_configs() {
  std::vector<Case> cases;
  for (const auto& group : {texts_and_keys(), values(), optimizers()})
    for (Case& c : cases_of(group)) cases.push_back(std::move(c));
  return cases;
}

std::vector<Case> malformed_layers() {
  std::vector<Case> cases = cases_of({
      {R"({"model": {"layers": []}})", "1: model.layers: got a list of 0, wanted a list of layers that is not empty"},
      {R"({"model": {"layers": [{}, 5]}})", "1: model.layers.1: got 5, wanted a layer: an object"},
      {R"({"model": {"name": "layers"}})", R"(1: model.name: "layers" needs the key "layers")"},
      {R"({"model": {"layers": [{}], "input": [32, 32]}})", "1: model.input: got a list of 2, wanted a list of 3"},
      {R"({"model": {"layers": [{}], "input": [16, 16, 3]}})", "1: model.input: wanted [32,32,3]"},
  });
  cases.push_back(config_case(R"({"model": {"name": "lenet", "classes": 20}, "data": {"name": "synthetic"}})",
                              "model.classes: got 20, the data have 10"));
  for (const auto& [text, says] : layers())
    cases.push_back(config_case(R"({"data": {"name": "synthetic"}, "model": {"layers": [)" + text + "]}}", says));
  return cases;
}

}  // namespace tern::test
