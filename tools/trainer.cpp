#include "tools/trainer.h"

#include <chrono>
#include <csignal>
#include <cmath>
#include <fstream>
#include <iterator>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "kernels/conv2d/conv_plans.h"
#include "nn/weights.h"
#include "tools/data_digest.h"
#include "tools/environment.h"
#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/interrupt.h"

namespace tern {
namespace {

constexpr const char* kPlanFile = "conv_plans.txt";

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

data::LoaderOptions loader_options(const Context& context, const Config& c, const TrainerOptions& options,
                                   const data::Dataset& data) {
  data::LoaderOptions loader = data::loader_options(c);
  loader.lanes_here = options.lanes_here;
  loader.profile = options.profile.get();
  if (options.overfit) loader.augment.clear();
  // Small data sets live in a GPU's memory; larger ones are fed by the loader's threads.
  constexpr int64_t kMostBytes = int64_t{4} << 30;
  loader.pixels = context.device().kind == Device::Kind::cpu || !c.data.resident || data.size() * data.shape().bytes() > kMostBytes;
  if (options.engine) loader.pixels = options.engine->reads_pixels();
  if (options.one_step_an_epoch) {
    const int64_t step = int64_t{loader.micro_batch} * loader.lanes;
    loader.lanes = static_cast<int>(Lanes{loader.drop_last ? data.size() / step * step : data.size(), loader.micro_batch}.count());
  }
  return loader;
}

double metric_of(Metric metric, const EpochMetrics& m) {
  switch (metric) {
    case Metric::train_loss: return m.train_loss;
    case Metric::train_acc: return m.train_acc;
    case Metric::val_loss: return m.val_loss.value();
    case Metric::val_acc: return m.val_acc.value();
    case Metric::test_loss: return m.test_loss;
    case Metric::test_acc: break;
  }
  return m.test_acc;
}

/// Is `value` better than `best` by more than `margin`?
bool gains(Metric metric, double value, const std::optional<double>& best, double margin = 0) {
  if (!std::isfinite(value)) return false;  // nor could a checkpoint hold it: JSON has no infinity
  if (!best) return true;
  const bool smaller = metric == Metric::train_loss || metric == Metric::val_loss || metric == Metric::test_loss;
  return smaller ? value < *best - margin : value > *best + margin;
}

}  // namespace

Trainer::Trainer(Context& context, const Config& config, data::RunData data, TrainerOptions options, Progress& progress)
    : context_(context), config_(config), data_(std::move(data)), options_(std::move(options)), team_(*options_.team), progress_(progress),
      loader_(data_.train, loader_options(context, config, options_, *data_.train)),
      training_(context, config, data_.train->shape(),
                config.model.classes.value_or(static_cast<int>(data_.train->classes().size())), loader_.steps_per_epoch(), options_.switches,
                options_.engine),
      gpu_(context.device(), options_.profile ? options_.profile->gpu_counter() : nullptr) {
  if (config.model.classes && *config.model.classes != static_cast<int>(data_.train->classes().size()))
    throw ConfigError("model.classes: got " + std::to_string(*config.model.classes) + ", the data have " + std::to_string(data_.train->classes().size()));
  if (!loader_.options().pixels && !options_.engine) training_.lanes().make_resident(*data_.train, loader_.options().augment);
  if (options_.engine) options_.engine->stop_when([this] { return InterruptGuard::signal() != 0 || out_of_time(); });
  training_.lanes().initialize_from(*data_.train);
  if (!options_.init_from.empty()) {
    nn::load_weights(training_.network(), SafetensorsFile::open(options_.init_from), kTrainingTensors);
    training_.weights_changed();
  }
}

void Trainer::write_to(RunFolder& folder) {
  folder_ = &folder;
  checkpoints_.emplace(folder.checkpoints(), config_.checkpoint.keep);
}

/// The convolution engines that were chosen by timing: a resumed run takes the same ones.
void Trainer::load_plans() {
  std::string text;
  if (folder_) {
    std::ifstream file(folder_->path() / kPlanFile);
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  text = team_.from_leader(text);
  if (text.empty()) return;
  try {
    context_.extension<ConvPlans>().load(text);
  } catch (const DataError& error) {
    say(std::string("warning: ") + error.what() + "; engines are chosen anew, the bits will differ from an uninterrupted run's");
  }
}

void Trainer::save_plans() {
  const ConvPlans& plans = context_.extension<ConvPlans>();
  if (plans.size() == plans_saved_) return;
  write_file_atomically(folder_->path() / kPlanFile, plans.text());
  plans_saved_ = plans.size();
}

/// Rank 0 finds it, all ranks read rank 0's bytes, which `bytes` then holds.
std::optional<SafetensorsFile> Trainer::newest_checkpoint(std::string& bytes) {
  std::optional<SafetensorsFile> file;
  if (checkpoints_) file = checkpoints_->newest_valid([this](const std::string& text) { say("warning: " + text); });
  if (team_.size() == 1) return file;
  const std::string name = team_.from_leader(file ? file->name() : "");
  if (name.empty()) return std::nullopt;
  if (file) {
    const MappedFile mapped(name);
    bytes.assign(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  }
  bytes = team_.from_leader(bytes);
  return SafetensorsFile::parse(std::as_bytes(std::span(bytes)), name);
}

bool Trainer::resume() {
  load_plans();
  std::string bytes;
  const auto file = newest_checkpoint(bytes);
  if (!file) {
    if (folder_) folder_->rewind(config_, 0, 0);  // a kill before the first checkpoint leaves rows
    return false;
  }
  position_ = load_checkpoint(*file, config_, training_);
  if (position_.step_in_epoch > loader_.steps_per_epoch())
    throw DataError(file->name() + ": stands at step " + std::to_string(position_.step_in_epoch) +
                    " of an epoch, the data give " + std::to_string(loader_.steps_per_epoch()));
  saved_at_ = position_.steps;
  if (folder_) {
    folder_->rewind(config_, position_.epoch, position_.steps);
    seconds_before_ = folder_->seconds_so_far();
  }
  if (checkpoints_) {
    try {
      checkpoints_->relink(file->name(), position_.step_in_epoch == 0 && position_.best_epoch == position_.epoch);
    } catch (const std::exception& error) {
      say(std::string("warning: checkpoint not linked, training goes on: ") + error.what());
    }
  }
  say(format("resumed from %s: epoch %lld, step %lld", file->name().c_str(), static_cast<long long>(position_.epoch + 1),
             static_cast<long long>(position_.step_in_epoch)));
  return true;
}

void Trainer::say(const std::string& text) {
  progress_.message(text);
  if (folder_) folder_->log(text);
}

double Trainer::elapsed() const { return now_seconds() - started_; }
bool Trainer::out_of_time() const { return options_.max_seconds && elapsed() >= *options_.max_seconds; }

TrainerResult Trainer::run() {
  TrainerResult result;
  started_ = now_seconds();
  result.summary.stopped_by = early_stop_reason();  // of a run that had ended when it was resumed
  bool going = result.summary.stopped_by.empty();
  const bool trained = going && position_.epoch < config_.train.epochs;
  team_.set_stepping(true);
  while (going && position_.epoch < config_.train.epochs) going = train_epoch(result);
  team_.set_stepping(false);
  result.complete = position_.epoch >= config_.train.epochs || !early_stop_reason().empty();
  progress_.finish();
  if (!result.evaluation && result.complete) result.evaluation = evaluate_on(data_.test, "test");  // resumed at its end

  RunSummary& s = result.summary;
  s.data = std::string(data_.train->name());
  s.epochs = position_.epoch;
  s.steps = position_.steps;
  s.seconds = seconds_before_ + (trained ? elapsed() : 0);
  s.best_acc = position_.best_acc;
  s.best_epoch = position_.best_epoch;
  if (result.evaluation) s.last_acc = result.evaluation->top1;
  s.peak_rss = peak_rss();
  s.peak_tensors = static_cast<int64_t>(context_.allocator().stats().total.peak);
  if (folder_) {
    if (result.evaluation) folder_->write_evaluation(*result.evaluation, "test");
    folder_->write_summary(s);
    if (options_.profile) options_.profile->write(folder_->path() / "profile");
  }
  if (checkpoints_ && saved_at_ != position_.steps && resumable())
    throw Error(folder_->path().string() + ": the last checkpoint could not be saved; the one before is still there");
  return result;
}

bool Trainer::train_epoch(TrainerResult& result) {
  epoch_started_ = now_seconds();
  wait_before_ = loader_.wait_seconds();
  pictures_this_epoch_ = 0;
  context_.reset_clock();
  loader_.start(position_.epoch, position_.step_in_epoch);
  while (const data::Batch* batch = loader_.next()) {
    const bool taken = take_step(*batch);
    const auto& every = config_.checkpoint.every_steps;
    const bool last = position_.step_in_epoch == loader_.steps_per_epoch();
    if (taken && options_.engine && !options_.engine->settled()) continue;
    if (taken && every && position_.steps % *every == 0 && !last) save(false);
    if (!last && interrupted(result)) return false;
  }
  finish_epoch(result);
  return !interrupted(result) && result.summary.stopped_by.empty();
}

/// False: the process was told to stop, and the step would have taken too long.
bool Trainer::take_step(const data::Batch& batch) {
  if (folder_ && config_.log.tensorboard && position_.steps == 0) show_first_pictures();
  const Profile::Step profiled(options_.profile.get(), context_, batch.size());
  if (!training_.run(batch)) return false;
  ++position_.steps;
  ++position_.step_in_epoch;
  const auto& every = config_.checkpoint.every_steps;
  const bool needed = position_.step_in_epoch == loader_.steps_per_epoch() || position_.steps % config_.log.every_steps == 0 ||
                      (every && position_.steps % *every == 0) || InterruptGuard::signal() != 0 ||
                      team_.size() > 1;  // what they tell must come at the same step to all ranks
  count_outcomes(needed);
  return true;
}

/// The first pictures of step 1: a batch need not hold pixels, nor all lanes, so they are read for this.
void Trainer::show_first_pictures() {
  constexpr int64_t kPictures = 64;
  data::StepOptions options = loader_.options();
  options.pixels = true;
  data::StepReader reader(data_.train, options);
  reader.set_epoch(0);
  data::Batch batch;
  std::vector<uint8_t> scratch;
  reader.read(0, 0, std::min(kPictures, reader.pictures(0)), batch, scratch);
  folder_->write_training_pictures(batch, data_.train->shape(), 1);
}

/// Outcomes of a GPU come in later than its steps; a checkpoint and the end of an epoch want all of them.
void Trainer::count_outcomes(bool all) {
  for (const StepOutcome& outcome : training_.take_outcomes(all)) {
    if (!outcome.finite) {
      handle_nonfinite(outcome);
    } else {
      position_.skipped_in_a_row = 0;
      position_.loss_sum += outcome.loss_sum;
      position_.correct += outcome.correct;
      position_.pictures += outcome.pictures;
    }
    ++steps_this_process_;
    pictures_this_epoch_ += outcome.pictures;
    report_step(outcome);
  }
}

void Trainer::handle_nonfinite(const StepOutcome& outcome) {
  ++position_.skipped;
  if (outcome.rescaled()) return;
  ++position_.skipped_in_a_row;
  const std::string what = format("epoch %lld, step %lld: %s is not finite", static_cast<long long>(outcome.epoch + 1),
                                  static_cast<long long>(outcome.step + 1), training_.first_bad_tensor(outcome).c_str());
  if (position_.skipped_in_a_row > config_.train.nonfinite.skips) {
    diverge(what + (config_.train.nonfinite.skips > 0
                        ? format(", after %lld skipped steps in a row", static_cast<long long>(position_.skipped_in_a_row - 1))
                        : "; train.nonfinite is \"stop\""));
  }
  say("warning: " + what + "; step skipped");
}

void Trainer::diverge(const std::string& what) {
  if (folder_) folder_->log("diverged: " + what);
  throw DivergedError(what + "; the last checkpoint is from before");
}

void Trainer::report_step(const StepOutcome& outcome) {
  const double seconds = now_seconds() - epoch_started_;
  const double rate = static_cast<double>(pictures_this_epoch_) / seconds;
  const auto pictures = static_cast<double>(std::max<int64_t>(position_.pictures, 1));
  ProgressState state;
  state.epoch = position_.epoch + 1;
  state.epochs = config_.train.epochs;
  state.step = outcome.step + 1;
  state.steps = loader_.steps_per_epoch();
  state.loss = position_.loss_sum / pictures;
  state.accuracy = static_cast<double>(position_.correct) / pictures;
  state.images_per_s = rate;
  state.data_wait = (loader_.wait_seconds() - wait_before_) / seconds;
  const int64_t steps = outcome.epoch * loader_.steps_per_epoch() + outcome.step + 1;
  const int64_t left = config_.train.epochs * loader_.steps_per_epoch() - steps;
  state.eta_seconds = elapsed() * static_cast<double>(left) / static_cast<double>(steps_this_process_);
  progress_.step(state);
  if (folder_ && steps % config_.log.every_steps == 0)
    folder_->add(StepRecord{position_.epoch + 1, steps, outcome.loss_sum / static_cast<double>(outcome.pictures),
                            static_cast<double>(outcome.correct) / static_cast<double>(outcome.pictures), outcome.lr, outcome.grad_norm,
                            rate, !outcome.finite});
  warn_of_full_disk();
}

/// The log may be on the same disk, so the console hears of it, too.
void Trainer::warn_of_full_disk() {
  if (!folder_) return;
  if (const std::string warning = folder_->take_warning(); !warning.empty()) say(warning);
}

/// Rank 0 evaluates; the other ranks get its scores, no predictions.
Evaluation Trainer::evaluate_on(const data::DatasetPtr& data, const std::string& name) {
  struct Scores {
    double loss, top1, top5;
  };
  if (!team_.leads()) {
    const Scores scores = team_.value_from_leader(Scores{});
    Evaluation evaluation;
    evaluation.loss = scores.loss;
    evaluation.top1 = scores.top1;
    evaluation.top5 = scores.top5;
    return evaluation;
  }
  EvaluationOptions options{.normalize = config_.data.normalize, .loader_threads = config_.data.loader_threads,
                            .plan = options_.switches.plan, .arena = training_.arena()};
  options.progress = [&](int64_t done, int64_t total) { progress_.task("evaluating on " + name, done, total); };
  options.dtype = training_.lanes().dtype();
  if (position_.epoch + 1 >= config_.train.epochs) options.tta = config_.train.tta;  // the run's last
  const Profile::Span span(options_.profile.get(), "evaluation on " + name, "evaluation", Profile::When::always);
  training_.swap_average();
  const PassWeights weights(training_.store());
  Evaluation evaluation = evaluate(context_, training_.network(), data, options);
  training_.swap_average();
  team_.value_from_leader(Scores{evaluation.loss, evaluation.top1, evaluation.top5});
  return evaluation;
}

void Trainer::finish_epoch(TrainerResult& result) {
  const double train_seconds = now_seconds() - epoch_started_;
  const double waited = loader_.wait_seconds() - wait_before_;
  check_in_step();
  const auto pictures = static_cast<double>(std::max<int64_t>(position_.pictures, 1));
  EpochMetrics m{.epoch = position_.epoch + 1, .step = position_.steps};
  m.train_loss = position_.loss_sum / pictures;
  m.train_acc = static_cast<double>(position_.correct) / pictures;
  m.lr = training_.learning_rate();
  if (const auto usage = gpu_.take()) {
    m.gpu_util = usage->busy;
    m.gpu_mem = usage->memory;
  }
  result.evaluation = evaluate_on(data_.test, "test");
  m.test_loss = result.evaluation->loss;
  m.test_acc = result.evaluation->top1;
  if (data_.validation) {
    const Evaluation validation = data_.validation == data_.test ? *result.evaluation : evaluate_on(data_.validation, "validation");
    m.val_loss = validation.loss;
    m.val_acc = validation.top1;
  }
  m.seconds = now_seconds() - epoch_started_;
  m.images_per_s = static_cast<double>(pictures_this_epoch_) / train_seconds;
  m.data_wait = waited / train_seconds;
  m.peak_rss = peak_rss();
  const PhaseClock& clock = context_.clock();
  const EpochTiming timing{m.epoch, waited, clock.seconds("forward"), clock.seconds("backward"), clock.seconds("optimizer"), m.seconds - train_seconds};

  const bool best = track_gain(m);
  ++position_.epoch;
  position_.step_in_epoch = 0;
  position_.loss_sum = 0;
  position_.correct = position_.pictures = 0;

  if (folder_) folder_->add(m, timing);
  warn_of_full_disk();
  say(format("epoch %3lld/%d  train loss %.4f acc %5.2f %%  test loss %.4f acc %5.2f %%%s  %.0f images/s  data wait %.1f %%  %s",
             static_cast<long long>(m.epoch), config_.train.epochs, m.train_loss, 100 * m.train_acc, m.test_loss, 100 * m.test_acc,
             best ? " *" : "  ", m.images_per_s, 100 * m.data_wait, duration_text(m.seconds).c_str()));
  const bool last = position_.epoch == config_.train.epochs;
  const int every = config_.checkpoint.every_epochs;
  if (!last) result.summary.stopped_by = early_stop_reason();
  if (stop_request().out_of_time && !last) result.summary.stopped_by = "--max-time";
  if (!result.summary.stopped_by.empty()) say(result.summary.stopped_by);
  if (last || best || !result.summary.stopped_by.empty() || (every > 0 && position_.epoch % every == 0)) save(best);
}

bool Trainer::track_gain(const EpochMetrics& m) {
  const double value = metric_of(config_.checkpoint.best, m);
  const bool best = gains(config_.checkpoint.best, value, position_.best);
  if (best) {
    position_.best = value;
    position_.best_epoch = m.epoch;
  }
  position_.best_acc = std::max(position_.best_acc.value_or(0), m.test_acc);
  if (const auto& stop = config_.train.early_stop) {
    const double watched = metric_of(stop->metric, m);
    if (gains(stop->metric, watched, position_.stop_best, stop->min_delta)) {
      position_.stop_best = watched;
      position_.epochs_without_gain = 0;
    } else {
      ++position_.epochs_without_gain;
    }
  }
  return best;
}

std::string Trainer::early_stop_reason() const {
  const auto& stop = config_.train.early_stop;
  if (!stop || position_.step_in_epoch > 0 || position_.epochs_without_gain < stop->patience) return {};
  return format("early stop: no gain in %s for %d epochs", std::string(name_of(stop->metric)).c_str(), stop->patience);
}

void Trainer::save(bool best) {
  count_outcomes(true);
  // An update can overflow where loss and gradients did not; the checkpoint before it is the last good one.
  if (const std::string bad = training_.bad_parameter(); !bad.empty()) {
    const bool between = position_.step_in_epoch == 0;  // epochs: the last step was the one before's
    diverge(format("epoch %lld, step %lld: parameter %s is not finite", static_cast<long long>(position_.epoch + !between),
                   static_cast<long long>(between ? loader_.steps_per_epoch() : position_.step_in_epoch), bad.c_str()));
  }
  if (!checkpoints_) return;
  CheckpointInfo info{config_, std::string(data_.train->name()), data_.train->classes(), data_.train->shape(), position_};
  try {
    const Profile::Span span(options_.profile.get(), "write a checkpoint", "checkpoint", Profile::When::always);
    save_plans();
    checkpoints_->save(training_, info, best);
    saved_at_ = position_.steps;
  } catch (const std::exception& error) {
    // A full disk must not cost the training: the old checkpoint is still there.
    say(std::string("warning: checkpoint not saved, training goes on: ") + error.what());
  }
}

/// What asks for a stop now, on this rank or another.
StopRequest Trainer::stop_request() {
  const bool stop_here = options_.stop_after_steps && position_.steps >= *options_.stop_after_steps;
  return team_.agree({.signal = stop_here ? SIGTERM : InterruptGuard::signal(),
                      .out_of_time = out_of_time()});
}

/// Ranks take the same steps from the same numbers; one that does not is a fault of its machine.
void Trainer::check_in_step() {
  if (team_.size() == 1) return;
  data::Sha256 digest;
  const std::vector<float> weights = training_.store().master.to_vector<float>();
  digest.update({reinterpret_cast<const uint8_t*>(weights.data()), weights.size() * sizeof(float)});
  if (const int rank = team_.first_unlike(digest.hex()); rank > 0)
    throw Error(format("epoch %lld: rank %d has other weights than rank 0 after the same steps; the last checkpoint is from before",
                       static_cast<long long>(position_.epoch + 1), rank));
}

bool Trainer::interrupted(TrainerResult& result) {
  const auto [signal, out_of_time] = stop_request();
  if (signal == 0 && !out_of_time) return false;
  if (position_.epoch >= config_.train.epochs) return false;  // done: nothing is interrupted
  result.signal = signal;
  result.summary.stopped_by = result.signal ? format("signal %d", result.signal) : "--max-time";
  if (saved_at_ != position_.steps && resumable()) save(false);
  say(format("stopped by %s in epoch %lld after step %lld; --resume goes on from %s", result.summary.stopped_by.c_str(),
             static_cast<long long>(position_.epoch + 1), static_cast<long long>(position_.step_in_epoch),
             resumable() ? "here" : "the last checkpoint"));
  return true;
}

void Trainer::dry_run() {
  started_ = epoch_started_ = now_seconds();
  loader_.start(0);
  if (const data::Batch* batch = loader_.next()) take_step(*batch);
  evaluate_on(data::limit(data_.test, 128), "a few test pictures");
  progress_.finish();
}

}  // namespace tern
