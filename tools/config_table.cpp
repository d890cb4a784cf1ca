#include "tools/config_table.h"

namespace tern::config_table {
namespace {

/// The array of layers, kept as text: what is in it belongs to the builder of networks.
Field<ModelConfig> layers_field() {
  Field<ModelConfig> f;
  f.key = "layers";
  f.type = "a list of layers";
  f.doc = "A network written in JSON, residual branches included; stands in place of a preset's name.";
  f.schema = {{"type", "array"}, {"items", {{"type", "object"}}}, {"minItems", 1}};
  f.read = [](ModelConfig& m, const json& v, const Place& at) {
    if (!v.is_array() || v.empty()) at.fail_type(v, "a list of layers that is not empty");
    for (size_t i = 0; i < v.size(); ++i) {
      if (!v[i].is_object()) at.at(std::to_string(i)).fail_type(v[i], "a layer: an object");
    }
    m.layers = v.dump();
  };
  f.write = [](const ModelConfig& m, bool) {
    return m.layers.empty() ? ordered_json::array() : ordered_json::parse(m.layers);
  };
  return std::move(f).only({"layers"});
}

const Section<ModelConfig>& model() {
  using M = ModelConfig;
  static const Section<M> section(
      {field("name", &M::name, "The network: a preset, or `layers`."),
       field("convs_per_block", &M::convs_per_block, range(1, 2),
             "Convolutions before each pooling: 2 is the seed's code (conv1..conv6), 1 its description (1, 3, 5).")
           .only({"cifar-cnn"}),
       field("dropout", &M::dropout, from_below(0, 1), "Probability, after the first two linear layers.")
           .only({"cifar-cnn"}),
       field("classes", &M::classes, range(2, 100000), "Outputs; null: as many as the data has."),
       field("input", &M::input, range(1, 4096), "Height, width, channels; null: the data's.").only({"layers"}),
       field("init", &M::init, "Initial weights: PyTorch's own, Kaiming (normal) or Xavier (uniform)."),
       layers_field()},
      "layers");
  return section;
}

const Section<NormalizeConfig>& normalize() {
  using N = NormalizeConfig;
  static const Section<N> section(
      {field("mean", &N::mean, range(-1000, 1000), "Per channel, of pixels scaled to 0..1."),
       field("std", &N::std, above(0, 1000), "Per channel; pixels become (x - mean) / std.")});
  return section;
}

const Section<AugmentConfig>& augment() {
  using A = AugmentConfig;
  static const Section<A> section(
      {field("name", &A::name, "What is done to each training picture, anew each epoch.").required(),
       field("pad", &A::pad, range(1, 1024), "Pixels added on each side before cropping back.").only({"crop"}),
       field("mode", &A::mode, "What the padding holds.").only({"crop"}),
       field("p", &A::p, range(0, 1), "Probability of mirroring left to right.").only({"flip"}),
       field("alternating", &A::alternating, "Drawn once for a picture; then each epoch shows the side that the one before did not.").only({"flip"}),
       field("size", &A::size, range(1, 4096), "Side in pixels of the square set to the mean.").only({"cutout"})});
  return section;
}

const Section<DataConfig>& data() {
  using D = DataConfig;
  static const Section<D> section(
      {field("name", &D::name, "The data set."),
       field("dir", &D::dir, "Folder that holds it, or where `trainer data` puts it.").free(),
       field("size", &D::size, range(1, 4096), "What every picture is scaled to, whatever its own size.").only({"folder"}),
       field("fit", &D::fit, "`crop`: scaled until it covers `size`, then the middle; `stretch`: both sides on their own.").only({"folder"}),
       field("bad_files", &D::bad_files, range(0, 1e9), "So many files that are no sound pictures are named and passed over; more end the run.")
           .only({"folder"})
           .free(),
       field("cache_mb", &D::cache_mb, range(0, 1e9),
             "MiB of decoded pictures kept in memory; what does not fit is decoded at each use. null: half of the free memory.")
           .only({"folder"})
           .free(),
       object("normalize", &D::normalize, normalize(), "Scaling of the pixels."),
       list("augment", &D::augment, augment(), ListStyle::list, "Changes to training pictures, in this order."),
       field("val_fraction", &D::val_fraction, from_below(0, 1), "Share of the training pictures held out."),
       field("limit", &D::limit, range(1, 1e9), "Train on the first so many pictures only."),
       field("drop_last", &D::drop_last, "Drop an epoch's last step where it is short."),
       field("loader_threads", &D::loader_threads, range(0, 256), "Threads that prepare batches; 0: the trainer's own.")
           .free(),
       field("prefetch", &D::prefetch, range(1, 1024), "Steps prepared in advance.").free(),
       field("resident", &D::resident, "On a GPU: keep the training pictures in its memory and change them there.").free()});
  return section;
}

const Section<EarlyStopConfig>& early_stop() {
  using E = EarlyStopConfig;
  static const Section<E> section(
      {field("metric", &E::metric, "What must improve; a loss falls, an accuracy rises."),
       field("patience", &E::patience, range(1, 1e6), "Epochs without improvement before the run ends."),
       field("min_delta", &E::min_delta, at_least(0), "Smaller changes are no improvement.")});
  return section;
}

const Section<TrainConfig>& train() {
  using T = TrainConfig;
  static const Section<T> section(
      {field("epochs", &T::epochs, range(1, 1e6), "Passes over the training pictures."),
       field("micro_batch", &T::micro_batch, range(1, 65536), "Images a lane: what BatchNorm sees at once."),
       field("lanes", &T::lanes, range(1, 4096), "Lanes a step; a step is lanes x micro_batch images."),
       field("label_smoothing", &T::label_smoothing, from_below(0, 1), "Probability spread over all classes."),
       field("loss", &T::loss, "What the gradient is of: the mean over the step's pictures, or their sum."),
       field("loss_scale", &T::loss_scale, range(1, 0x1p24), "fp16: the first loss scale; it falls when gradients overflow and rises when they have not."),
       field("tta", &T::tta, "Test-time augmentation of the evaluation after the last epoch: mean of the logits over mirror images, and over shifts.").free(),
       field("clip_norm", &T::clip_norm, above(0), "Largest global L2 norm of a step's gradients; null: no clipping."),
       object("early_stop", &T::early_stop, early_stop(), "End the run when it no longer improves; null: never."),
       field("ema", &T::ema, between(0, 1), "Decay of a moving average of the weights, which is then evaluated."),
       field("nonfinite", &T::nonfinite,
             "At NaN or Inf: stop with exit code 5, or skip the step and stop after K in a row.")});
  return section;
}

const Section<ScheduleConfig>& schedule() {
  using S = ScheduleConfig;
  const std::vector<std::string> warm = {"cosine", "step", "linear", "constant"};
  static const Section<S> section(
      {field("name", &S::name, "Shape of the learning rate, one schedule step an optimizer step."),
       field("max_lr", &S::max_lr, above(0), "The peak; required where `name` is written.").only({"onecycle"}),
       field("pct_start", &S::pct_start, between(0, 1), "Share of the run that the rise takes.").only({"onecycle"}),
       field("div_factor", &S::div_factor, above(0), "First rate is max_lr / div_factor.").only({"onecycle"}),
       field("final_div_factor", &S::final_div_factor, above(0), "Last rate is the first / final_div_factor.")
           .only({"onecycle"}),
       field("anneal", &S::anneal, "Curve between the phases (PyTorch: anneal_strategy).").only({"onecycle"}),
       field("three_phase", &S::three_phase, "Fall as long as the rise, then to the last rate.").only({"onecycle"}),
       field("min_lr", &S::min_lr, at_least(0), "The last rate (PyTorch: eta_min).").only({"cosine"}),
       field("step_size", &S::step_size, range(1, 1e6), "Epochs between two drops.").only({"step"}),
       field("gamma", &S::gamma, above(0, 1), "Each drop multiplies the rate by it.").only({"step"}),
       field("start_factor", &S::start_factor, above(0, 1), "First rate, as a share of lr.").only({"linear"}),
       field("end_factor", &S::end_factor, range(0, 1), "Last rate, as a share of lr.").only({"linear"}),
       field("decay_epochs", &S::decay_epochs, above(0, 1e6), "Epochs that the fall takes; null: the rest of the run.")
           .only({"cosine", "linear"}),
       field("warmup_steps", &S::warmup_steps, range(0, 1e9), "Steps of linear rise to lr.").only(warm),
       field("warmup_epochs", &S::warmup_epochs, range(0, 1e6), "The same in epochs; one of the two.").only(warm),
       field("warmup_start_factor", &S::warmup_start_factor, above(0, 1), "First rate of the rise, as a share of lr.")
           .only(warm)});
  return section;
}

const Section<OptimConfig>& optim() {
  using O = OptimConfig;
  static const Section<O> section(
      {field("params", &O::params,
             "Which parameters: `*` any characters, `?` one, `|` alternatives; the first group that fits takes one."),
       field("name", &O::name, "The optimizer."),
       field("lr", &O::lr, above(0), "Base rate; the onecycle schedule sets its own."),
       field("betas", &O::betas, from_below(0, 1), "Decay of the two moments.").only({"adamw"}),
       field("eps", &O::eps, above(0), "Added to the denominator.").only({"adamw"}),
       field("momentum", &O::momentum, from_below(0, 1), "Decay of the velocity.").only({"sgd", "muon"}).default_for("muon", 0.95),
       field("nesterov", &O::nesterov, "Nesterov momentum.").only({"sgd", "muon"}).default_for("muon", true),
       field("ns_steps", &O::ns_steps, range(1, 20), "Newton-Schulz iterations that orthogonalise an update.").only({"muon"}),
       field("fixed_norm", &O::fixed_norm, "Before a step scale each weight to a Frobenius norm of sqrt(outputs).").only({"muon"}),
       field("weight_decay", &O::weight_decay, at_least(0), "Decoupled (adamw, muon) or added to the gradient (sgd).")
           .default_for("sgd", 0.0)
           .default_for("muon", 0.0),
       field("no_decay", &O::no_decay, "No weight decay for BatchNorm and biases."),
       field("frozen_after", &O::frozen_after, at_least(0), "Epochs after which the group no longer moves."),
       object("schedule", &O::schedule, schedule(), "The group's own schedule, as `schedule`; null: the run's.")});
  return section;
}

const Section<RunConfig>& run() {
  using R = RunConfig;
  static const Section<R> section({field("seed", &R::seed, "All randomness follows from it."),
                                   field("device", &R::device, "`auto`, `cpu`, `cuda` or `cuda:i`.")
                                       .matching("^(auto|cpu|cuda(:[0-9]{1,3})?)$")
                                       .free(),
                                   field("precision", &R::precision, "`auto`: fp16 on CUDA, fp32 on the CPU."),
                                   field("time_engines", &R::time_engines, "On a GPU: take the fastest of cuDNN's engines; false: its first one, as workers and ranks do, so that all take the same.").free(),
                                   field("threads", &R::threads, range(0, 4096), "CPU threads; 0: all.").free()});
  return section;
}

const Section<LogConfig>& log() {
  using L = LogConfig;
  static const Section<L> section(
      {field("every_steps", &L::every_steps, range(1, 1e9), "Steps between lines of the progress and steps.jsonl.")
           .free(),
       field("csv", &L::csv, "Write metrics.csv and timing.csv.").free(),
       field("jsonl", &L::jsonl, "Write steps.jsonl.").free(),
       field("tensorboard", &L::tensorboard, "Write TensorBoard event files into tb/.").free()});
  return section;
}

const Section<CheckpointConfig>& checkpoint() {
  using C = CheckpointConfig;
  static const Section<C> section(
      {field("every_epochs", &C::every_epochs, range(0, 1e6), "Epochs between checkpoints; 0: only the last.").free(),
       field("every_steps", &C::every_steps, range(1, 1e9), "Steps between checkpoints, in addition.").free(),
       field("keep", &C::keep, range(1, 1000), "How many of them stay.").free(),
       field("best", &C::best, "Metric whose best epoch is kept as best.safetensors.").free()});
  return section;
}

}  // namespace

const Section<Config>& config_section() {
  using C = Config;
  static const Section<C> section(
      {object("model", &C::model, model(), "The network."), object("data", &C::data, data(), "The pictures."),
       object("train", &C::train, train(), "The recipe."),
       list("optim", &C::optim, optim(), ListStyle::one_or_list, "The optimizer, or a list of parameter groups."),
       object("schedule", &C::schedule, schedule(), "The learning rate over the run."),
       object("run", &C::run, run(), "Seed and machine."),
       object("log", &C::log, log(), "What is written along the way."),
       object("checkpoint", &C::checkpoint, checkpoint(), "What is kept.")});
  return section;
}

}  // namespace tern::config_table
