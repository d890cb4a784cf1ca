#include "tools/training_step.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "kernels/ops.h"
#include "tools/model.h"

namespace tern {
namespace {

/// A schedule of the config in steps.
std::unique_ptr<LrSchedule> schedule_of(const ScheduleConfig& c, double lr, int64_t epochs, int64_t steps_per_epoch) {
  auto in_steps = [&](double length) { return static_cast<int64_t>(std::llround(length * static_cast<double>(steps_per_epoch))); };
  ScheduleOptions options;
  options.name = std::string(name_of(c.name));
  options.lr = lr;
  options.max_lr = c.max_lr;
  options.pct_start = c.pct_start;
  options.anneal = std::string(name_of(c.anneal));
  options.div_factor = c.div_factor;
  options.final_div_factor = c.final_div_factor;
  options.three_phase = c.three_phase;
  options.t_max = options.linear_steps = c.decay_epochs ? in_steps(*c.decay_epochs) : 0;
  options.eta_min = c.min_lr;
  options.step_size = c.step_size * steps_per_epoch;
  options.gamma = c.gamma;
  options.start_factor = c.start_factor;
  options.end_factor = c.end_factor;
  options.warmup_steps = c.warmup_steps + in_steps(c.warmup_epochs);
  options.warmup_start_factor = c.warmup_start_factor;
  return make_schedule(options, epochs * steps_per_epoch);
}

/// The parameters of a group, by weight decay.
std::vector<Part> parts_of(const OptimConfig& group, const std::vector<Segment>& segments) {
  Part decayed{{}, group.weight_decay}, plain{{}, 0};
  for (const Segment& segment : segments) {
    const bool exempt = group.no_decay && segment.kind != ParamKind::conv_weight && segment.kind != ParamKind::linear_weight;
    (exempt ? plain : decayed).segments.push_back(segment);
  }
  std::vector<Part> parts;
  for (Part* part : {&decayed, &plain})
    if (!part->segments.empty()) parts.push_back(std::move(*part));
  return parts;
}

/// Numbers in an update's report: gradient norm, not 0 when nothing was updated, loss scale.
constexpr size_t kUpdateReport = 3;

/// Plans overwrite their outputs when they run again; a step that is read later keeps its own.
Tensor kept(const Tensor& output) {
  Tensor copy = Tensor::empty(output.context(), output.shape(), output.dtype());
  copy.copy_from(output);
  return copy;
}

/// Does a step's folded pass fit a reasonable share of a CPU's memory? What layers put out for all pictures at once, much of which waits
/// for the backward pass, may take 256 MiB; beyond that lanes one after another are as fast, to the same bits.
bool folds_well(const nn::Network& network, int64_t pictures) {
  constexpr int64_t kMostBytes = int64_t{256} << 20;
  int64_t floats = 0;
  for (const nn::LayerInfo& layer : network.layers())
    if (!layer.fused) floats += layer.output.numel();
  return floats * pictures * 4 <= kMostBytes;
}

bool all_finite(const Tensor& tensor) {
  return std::ranges::all_of(tensor.to_vector<float>(), [](float value) { return std::isfinite(value); });
}

}  // namespace

/// A step whose outcome has not been taken.
struct TrainingStep::Pending {
  StepOutcome outcome;
  std::vector<Tensor> reports;  ///< of its passes, in order; the last ends with, or is, that of its update
};

TrainingStep::TrainingStep(Context& context, const Config& config, data::PictureShape pictures, int64_t classes,
                           int64_t steps_per_epoch, StepSwitches switches, LaneEngine* engine)
    : context_(context), config_(config), switches_(switches), engine_(engine), lanes_(context, config, pictures, classes),
      arena_(std::make_shared<Arena>(context)) {
  make_groups(config, steps_per_epoch);
  if (config.train.ema) average_.emplace(store(), *config.train.ema);
  if (config.run.precision == Precision::fp16) {
    loss_scale_ = Tensor::full(context, {1}, config.train.loss_scale);
    good_steps_ = Tensor::zeros(context, {1}, DType::i64);
  }
  if (context.device().kind == Device::Kind::cuda) stopped_ = Tensor::zeros(context, {1});
  compile_steps();
}

TrainingStep::~TrainingStep() = default;

void TrainingStep::compile_steps() {
  CompileOptions options{.plan = switches_.plan, .reuse_memory = switches_.reuse_memory, .arena = arena_};
  if (context_.device().kind == Device::Kind::cpu && config_.train.lanes > 1 &&
      !folds_well(network(), int64_t{config_.train.lanes} * config_.train.micro_batch))
    switches_.fold = false;
  if (switches_.fold && !engine_) {
    folded_.emplace(context_, [this](std::span<const Tensor> in) {
      const LanePass::Result pass = lanes_.run(in, loss_scale_, store().grads);
      context_.enter_phase("optimizer");
      const std::vector<Tensor> result = update(pass.loss_bad);
      network().update_statistics(pass.statistics, {in[0].size(0), config_.train.micro_batch}, result[1]);
      NoGrad no_grad(context_);
      return std::vector<Tensor>{concat(std::vector{pass.report, result[0]}, 0)};
    }, options);
    return;
  }
  statistics_sizes_ = lanes_.statistics_sizes();
  if (!engine_) runner_.emplace(context_, lanes_, switches_, arena_, store().grads);
  update_.emplace(context_, [this](std::span<const Tensor> in) {
    context_.enter_phase("optimizer");
    return update(in[0]);
  }, options);
}

void TrainingStep::make_groups(const Config& config, int64_t steps_per_epoch) {
  std::vector<std::vector<Segment>> members(config.optim.size());
  for (const Segment& segment : store().segments()) {
    const auto first = std::ranges::find_if(config.optim, [&](const OptimConfig& g) { return matches_pattern(g.params, segment.name); });
    if (first == config.optim.end()) throw ConfigError("optim: no group's pattern fits the parameter '" + segment.name + "'");
    members[static_cast<size_t>(first - config.optim.begin())].push_back(segment);
  }
  for (size_t i = 0; i < config.optim.size(); ++i) {
    const OptimConfig& c = config.optim[i];
    if (members[i].empty())
      throw ConfigError("optim." + std::to_string(i) + ".params: '" + c.params + "' fits no parameter that is left for it");
    Group group;
    const std::vector<Part> parts = parts_of(c, members[i]);
    switch (c.name) {
      case OptimName::adamw: group.optimizer = make_adamw(store(), parts, {c.betas[0], c.betas[1], c.eps}); break;
      case OptimName::sgd: group.optimizer = make_sgd(store(), parts, {c.momentum, c.nesterov}); break;
      case OptimName::muon:
        group.optimizer = make_muon(store(), parts, {.momentum = c.momentum, .nesterov = c.nesterov, .ns_steps = c.ns_steps, .fixed_norm = c.fixed_norm});
        break;
    }
    group.schedule = schedule_of(c.schedule.value_or(config.schedule), c.lr, config.train.epochs, steps_per_epoch);
    if (c.frozen_after) group.frozen_from = std::llround(*c.frozen_after * static_cast<double>(steps_per_epoch));
    group.lr = Tensor::zeros(context_, {1}, DType::f64);
    groups_.push_back(std::move(group));
  }
}

/// out: its report, f32 [kUpdateReport], and the second number of that alone, f32 [1].
std::vector<Tensor> TrainingStep::update(const Tensor& loss_bad) {
  NoGrad no_grad(context_);
  const GlobalNorm norm = global_norm(store().grads);
  Tensor skip = maximum(norm.found_inf, loss_bad);
  const Tensor one = Tensor::full(context_, {1}, 1);
  const Tensor used_scale = loss_scale_.defined() ? mul(loss_scale_, one) : one;  // before it changes
  const Tensor unscale = loss_scale_.defined() ? div(one, used_scale) : one;
  if (stopped_.defined() && config_.train.nonfinite.skips == 0) {
    // With a loss scale only a step that fails without one is a reason to stop.
    Tensor fails = skip;
    if (loss_scale_.defined()) fails = where(cast(add(used_scale, -1.0), DType::u8), Tensor::zeros(context_, {1}), skip);
    skip = maximum(skip, stopped_);
    stopped_.copy_from(maximum(stopped_, fails));
  }
  const Tensor scale = config_.train.clip_norm ? clip_coefficient(norm.norm, unscale, {.max_norm = *config_.train.clip_norm}) : unscale;
  for (Group& group : groups_)
    if (group.frozen_from < 0 || steps_ < group.frozen_from) group.optimizer->step({group.lr, scale, skip});
  if (average_) average_->step(skip);
  if (loss_scale_.defined()) loss_scale_update(loss_scale_, good_steps_, skip);
  return {concat(std::vector{mul(norm.norm, unscale), skip, used_scale}, 0), skip};
}

void TrainingStep::run_folded(const data::Batch& batch, Pending& pending) {
  pending.reports.push_back(kept((*folded_)(lanes_.inputs_of(batch, 0, batch.size(), batch.size()))[0]));
}

/// A step whose lanes are computed one after another, or by the engine.
bool TrainingStep::run_lanes(const data::Batch& batch, Pending& pending) {
  if (engine_) {
    context_.enter_phase("forward");  // and backward: where the time goes is the workers' to know
    const std::optional<LaneResults> results = engine_->run(lanes_, batch, loss_scale_, store().grads);
    if (!results) return false;
    finish_lanes(*results, pending);
    engine_->updated(lanes_);
    return true;
  }
  LaneResults results{.epoch = batch.epoch, .step = batch.step, .pictures = batch.size(), .nodes = {}};
  results.nodes.push_back(runner_->run(batch, 0, batch.size(), batch.size(), {0, batch.lanes()}, loss_scale_));
  finish_lanes(results, pending);
  return true;
}

/// What follows when the lanes' gradients are summed: optimizer and running statistics.
void TrainingStep::finish_lanes(const LaneResults& results, Pending& pending) {
  StepOutcome& outcome = pending.outcome;
  outcome.epoch = results.epoch;
  outcome.step = results.step;
  outcome.pictures = results.pictures;
  const Lanes lanes{results.pictures, config_.train.micro_batch};
  std::vector<Tensor> statistics;
  for (const int64_t size : statistics_sizes_) statistics.push_back(Tensor::empty(context_, {lanes.count(), size}));
  float loss_bad = 0;
  for (const NodeReport& node : results.nodes) {
    std::span<const float> numbers = node.numbers;
    const auto take = [&](int64_t count) {
      const auto first = numbers.first(static_cast<size_t>(count));
      numbers = numbers.subspan(static_cast<size_t>(count));
      return first;
    };
    const int64_t pictures = lanes.end(node.first + node.count - 1) - lanes.begin(node.first);
    pending.reports.push_back(Tensor::from<float>(context_, {2 * pictures}, take(2 * pictures)));
    loss_bad = std::max(loss_bad, take(1)[0]);
    for (const Tensor& statistic : statistics)
      slice(statistic, 0, node.first, node.first + node.count).write(take(node.count * statistic.size(1)));
  }
  context_.enter_phase("optimizer");
  const std::vector<Tensor> result = (*update_)({Tensor::full(context_, {1}, loss_bad)});
  network().update_statistics(statistics, {pending.outcome.pictures, config_.train.micro_batch}, result[1]);
  pending.reports.push_back(kept(result[0]));
}

void TrainingStep::set_rates() {
  for (Group& group : groups_) {
    const double rate = group.schedule->at(steps_);
    group.lr.write(std::span<const double>(&rate, 1));
    if (&group == &groups_[0]) learning_rate_ = rate;
    if (group.frozen_from == steps_) (folded_ ? *folded_ : *update_).reset();  // the recorded update still moves it
  }
}

bool TrainingStep::run(const data::Batch& batch) {
  Pending pending;
  pending.outcome = {.epoch = batch.epoch, .step = batch.step, .pictures = batch.size()};
  context_.set_rng_key(config_.run.seed, static_cast<uint64_t>(batch.epoch));
  set_rates();
  pending.outcome.lr = learning_rate_;
  if (folded_)
    run_folded(batch, pending);
  else if (!run_lanes(batch, pending))
    return false;
  pending_.push_back(std::move(pending));
  context_.enter_phase({});
  ++steps_;
  return true;
}

StepOutcome TrainingStep::outcome_of(const Pending& pending) const {
  StepOutcome outcome = pending.outcome;
  std::vector<float> report;
  for (const Tensor& tensor : pending.reports) {
    report = tensor.to_vector<float>();
    const size_t n = (report.size() - (&tensor == &pending.reports.back() ? kUpdateReport : 0)) / 2;
    for (size_t i = 0; i < n; ++i) outcome.loss_sum += report[i];
    for (size_t i = n; i < 2 * n; ++i) outcome.correct += report[i] != 0;
  }
  const std::span update = std::span(report).last(kUpdateReport);
  outcome.grad_norm = update[0];
  outcome.finite = update[1] == 0;
  outcome.loss_scale = update[2];
  return outcome;
}

std::vector<StepOutcome> TrainingStep::take_outcomes(bool all) {
  constexpr size_t kMostPending = 64;
  if (context_.device().kind == Device::Kind::cuda && !all && pending_.size() < kMostPending) return {};
  context_.enter_phase("optimizer");  // whatever is waited for here is the steps' work
  std::vector<StepOutcome> outcomes;
  for (const Pending& pending : pending_) outcomes.push_back(outcome_of(pending));
  pending_.clear();
  context_.enter_phase({});
  return outcomes;
}

std::vector<PlanStats> TrainingStep::plan_stats() const {
  std::vector<PlanStats> all;
  const auto append = [&](const std::vector<PlanStats>& stats) { all.insert(all.end(), stats.begin(), stats.end()); };
  if (folded_) append(folded_->stats());
  if (runner_) append(runner_->plan_stats());
  if (update_) append(update_->stats());
  return all;
}

std::vector<StateTensor> TrainingStep::state() const {
  std::vector<StateTensor> tensors;
  for (size_t i = 0; i < groups_.size(); ++i)
    for (const StateTensor& s : groups_[i].optimizer->state())
      tensors.push_back({"optimizer." + std::to_string(i) + "." + s.name, s.tensor});
  if (average_) tensors.push_back({"ema", average_->average()});
  if (loss_scale_.defined()) {
    tensors.push_back({"loss_scale.scale", loss_scale_});
    tensors.push_back({"loss_scale.good_steps", good_steps_});
  }
  return tensors;
}

std::string TrainingStep::bad_parameter() const {
  for (const Segment& segment : store().segments())
    if (!all_finite(store().view(store().master, segment))) return segment.name;
  return {};
}

std::string TrainingStep::first_bad_tensor(const StepOutcome& outcome) const {
  if (const std::string name = bad_parameter(); !name.empty()) return "parameter " + name;
  if (!std::isfinite(outcome.loss_sum)) return "the loss";
  for (const Segment& segment : store().segments())
    if (!all_finite(store().view(store().grads, segment))) return "gradient of " + segment.name;
  return "the gradient norm";
}

void TrainingStep::swap_average() {
  if (!average_) return;
  const Tensor weights = kept(store().master);
  store().master.copy_from(average_->average());
  average_->average().copy_from(weights);
  lanes_.weights_changed();
}

}  // namespace tern
