#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "kernels/pad/pad.h"

/// The typed configuration of a run. The initial values below are the defaults (the seed's recipe); keys, ranges and
/// meanings stand in one table, tools/config_table.cpp, from which parsing, `--print-config`, `--print-schema` and
/// docs/config.md follow.
namespace tern {

enum class ModelName { cifar_cnn, lenet, resnet18, airbench94, layers };
enum class InitScheme { standard /* PyTorch's */, kaiming, xavier };
enum class DataName { cifar10, cifar100, synthetic, folder };
enum class PictureFit { crop, stretch };
enum class AugmentName { crop, flip, cutout };

enum class OptimName { adamw, sgd, muon };
enum class ScheduleName { onecycle, cosine, step, linear, constant };
enum class Anneal { cos, linear };
enum class Precision { automatic, fp32, tf32, bf16, fp16 };
enum class Metric { train_loss, train_acc, val_loss, val_acc, test_loss, test_acc };

/// A preset with its options, or (name == layers) a network written in JSON.
struct ModelConfig {
  ModelName name = ModelName::cifar_cnn;
  int convs_per_block = 2;                  ///< cifar-cnn
  double dropout = 0.5;                     ///< cifar-cnn
  std::optional<int> classes;               ///< null: as many as the data has
  std::optional<std::array<int, 3>> input;  ///< H, W, C of a network of layers; null: the data's
  InitScheme init = InitScheme::standard;
  std::string layers;  ///< JSON text of the array of layers, "" for a preset
};

struct NormalizeConfig {
  std::array<double, 3> mean = {0.5, 0.5, 0.5}, std = {0.5, 0.5, 0.5};  ///< per channel, of pixels in [0, 1]
};

struct AugmentConfig {
  AugmentName name = AugmentName::crop;
  int pad = 4;                      ///< crop: pixels on each side
  PadMode mode = PadMode::reflect;  ///< crop
  double p = 0.5;                   ///< flip: probability
  bool alternating = false;         ///< flip: drawn once, then the other side each epoch
  int size = 8;                     ///< cutout: side of the square in pixels
};

/// In JSON [H, W], or one number for a square.
struct PictureSize {
  int height = 32, width = 32;
  bool operator==(const PictureSize&) const = default;
};

struct DataConfig {
  DataName name = DataName::cifar10;
  std::string dir = "data";
  PictureSize size;                     ///< folder
  PictureFit fit = PictureFit::crop;    ///< folder
  int64_t bad_files = 0;                ///< folder: how many may be passed over
  std::optional<int64_t> cache_mb;      ///< folder: most memory for decoded pictures; null: half of what is free
  NormalizeConfig normalize;
  std::vector<AugmentConfig> augment;
  double val_fraction = 0.0;     ///< share of the training pictures held out
  std::optional<int64_t> limit;  ///< use only the first so many training pictures
  bool drop_last = false;
  int loader_threads = 1;
  int prefetch = 4;  ///< steps ready in advance
  bool resident = true;  ///< on a GPU: pictures in its memory
};

struct EarlyStopConfig {
  Metric metric = Metric::test_acc;
  int patience = 5;  ///< epochs without improvement
  double min_delta = 0.0;
};

enum class LossSum { mean, sum };
/// Test-time augmentation: a picture's logits are
///   flip        the mean of its own and its mirror image's
///   flip_shift  half of that, and half the mean of the same of the picture moved by a pixel to the lower right and to the upper left
enum class TtaName { none, flip, flip_shift };

/// What a step with NaN or Inf does: stop, or be skipped; `skips` in a row stop all the same. 0: stop at the first.
struct NonfinitePolicy {
  int skips = 0;
  bool operator==(const NonfinitePolicy&) const = default;
};

struct TrainConfig {
  int epochs = 25;
  int micro_batch = 32;  ///< images a lane
  int lanes = 4;         ///< lanes a step
  double label_smoothing = 0.0;
  LossSum loss = LossSum::mean;  ///< what the gradient is of, over the step's pictures
  double loss_scale = 65536;     ///< fp16: the first
  TtaName tta = TtaName::none;   ///< of the evaluation after the last epoch
  std::optional<double> clip_norm = 1.0;
  std::optional<EarlyStopConfig> early_stop;
  std::optional<double> ema;  ///< decay of the averaged weights
  NonfinitePolicy nonfinite;
};

/// Names, units and formulas are PyTorch's, one schedule step an optimizer step; whole-run lengths follow from
/// train.epochs.
struct ScheduleConfig {
  ScheduleName name = ScheduleName::onecycle;
  double max_lr = 0.01, pct_start = 0.3, div_factor = 10, final_div_factor = 100;  ///< onecycle
  Anneal anneal = Anneal::cos;                                                     ///< onecycle
  bool three_phase = false;                                                        ///< onecycle
  double min_lr = 0.0;                                                             ///< cosine
  int step_size = 30;                                                              ///< step: epochs
  double gamma = 0.1;                                                              ///< step
  double start_factor = 1.0, end_factor = 0.0;                                     ///< linear
  std::optional<double> decay_epochs;                      ///< cosine, linear: length; null: the rest of the run
  int64_t warmup_steps = 0;                                ///< all but onecycle
  double warmup_epochs = 0.0, warmup_start_factor = 0.01;  ///< all but onecycle
};

/// One group of parameters with its own optimizer; a run has one or more.
struct OptimConfig {
  std::string params = "*";  ///< name pattern, see matches_pattern()
  OptimName name = OptimName::adamw;
  double lr = 0.001;
  std::array<double, 2> betas = {0.9, 0.999};  ///< adamw
  double eps = 1e-8;                           ///< adamw
  double momentum = 0.0;                       ///< sgd, muon (the table gives it 0.95)
  bool nesterov = false;                       ///< sgd, muon (the table: true)
  int ns_steps = 5;                            ///< muon: Newton-Schulz iterations
  bool fixed_norm = false;                     ///< muon: weights are scaled to a norm of sqrt(outputs) before each step
  double weight_decay = 0.01;                  ///< the table gives sgd and muon 0
  bool no_decay = false;                       ///< no weight decay for BatchNorm and biases
  std::optional<double> frozen_after;          ///< epochs
  std::optional<ScheduleConfig> schedule;      ///< null: the run's
};

struct RunConfig {
  uint64_t seed = 42;
  std::string device = "auto";  ///< see parse_device()
  Precision precision = Precision::fp32;
  bool time_engines = true;
  int threads = 0;  ///< 0: all
};

struct LogConfig {
  int every_steps = 50;
  bool csv = true, jsonl = true, tensorboard = true;
};

struct CheckpointConfig {
  int every_epochs = 1;  ///< 0: only at the end
  std::optional<int64_t> every_steps;
  int keep = 3;
  Metric best = Metric::test_acc;
};

struct Config {
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  std::vector<OptimConfig> optim = {OptimConfig{}};  ///< the first group whose pattern fits takes a parameter
  ScheduleConfig schedule;
  RunConfig run;
  LogConfig log;
  CheckpointConfig checkpoint;
};

/// One value set from the command line: `path` is dotted, with list indices (`optim.0.lr`); `value` is JSON, or else
/// taken as a string; `origin` is the argument as typed, for messages.
struct Override {
  std::string path, value, origin;
};

/// Splits the argument of `--set`, `optim.lr=0.05`. Throws ConfigError where path or `=` is missing.
Override parse_set(const std::string& argument);

/// Parses, overrides, then validates a config. Every key that is absent has its default. Throws ConfigError:
/// `FILE:LINE: train.lanes: got 0, wanted an integer from 1 to 4096`.
Config parse_config(std::string_view text, const std::string& source, std::span<const Override> overrides = {});
Config load_config(const std::string& file, std::span<const Override> overrides = {});

/// The config with every default written, as `--print-config` and the run's config.json show it. parse_config() reads
/// it back to the same config.
std::string config_json(const Config& config);

/// JSON Schema (draft 2020-12) of the config.
std::string config_schema();

/// docs/config.md.
std::string config_markdown();

/// Things that are allowed but seldom meant, a line each (an `optim.lr` that OneCycle overrides ...).
std::vector<std::string> config_notes(const Config& config);

/// What defines a run: model, data, recipe, seed, lanes; not threads, device, paths, logs. Compact JSON with sorted
/// keys, the same bytes for the same run. `train.epochs` counts only where a schedule's shape depends on it, so a
/// run with a constant rate may be resumed for longer.
std::string defining_json(const Config& config);

struct ConfigDifference {
  std::string path, stored, wanted;  ///< values as JSON, "(absent)" where one side has none
};
/// Where `config` defines another run than `stored`, a text from defining_json(), perhaps of an older version: keys
/// it lacks have their defaults. Throws DataError where `stored` is no such text.
std::vector<ConfigDifference> defining_differences(const std::string& stored, const Config& config);

/// "auto" (nullopt), "cpu", "cuda" or "cuda:3". Throws ConfigError for the rest; whether it is there is asked later.
std::optional<Device> parse_device(std::string_view text);

/// fp16 on CUDA and fp32 on the CPU for automatic. Throws ConfigError for precisions that only CUDA has.
Precision resolve_precision(Precision precision, Device device);

/// Glob: `*` any run of characters, `?` one; `|` separates alternatives: `conv*.weight|fc3.*`.
bool matches_pattern(std::string_view pattern, std::string_view name);

std::string_view name_of(ModelName v);
std::string_view name_of(InitScheme v);
std::string_view name_of(DataName v);
std::string_view name_of(PictureFit v);
std::string_view name_of(AugmentName v);
std::string_view name_of(PadMode v);
std::string_view name_of(OptimName v);
std::string_view name_of(LossSum v);
std::string_view name_of(TtaName v);
std::string_view name_of(ScheduleName v);
std::string_view name_of(Anneal v);
std::string_view name_of(Precision v);
std::string_view name_of(Metric v);

}  // namespace tern
