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

bool all_finite(const Tensor& tensor) {
  return std::ranges::all_of(tensor.to_vector<float>(), [](float value) { return std::isfinite(value); });
}

}  // namespace

TrainingStep::TrainingStep(Context& context, const Config& config, data::PictureShape pictures, int64_t classes,
                           int64_t steps_per_epoch, StepSwitches switches)
    : context_(context), config_(config), switches_(switches), pictures_(pictures), arena_(std::make_shared<Arena>(context)) {
  const nn::InputShape input{pictures.height, pictures.width, pictures.channels};
  network_ = build_model(context, config.model, input, classes, config.run.seed);
  store_ = std::make_unique<ParameterStore>(context, network_->parameters());
  for (const Parameter& parameter : network_->parameters()) trained_.push_back(*parameter.tensor);
  make_groups(config, steps_per_epoch);
  if (config.train.ema) average_.emplace(*store_, *config.train.ema);

  context.set_lane_size(config.train.micro_batch);
  context.set_defer_statistics(true);
  pass_grads_ = switches.fold ? store_->grads : Tensor::zeros(context, {store_->size()});
  lane_sum_.emplace(store_->grads);
  CompileOptions options{.plan = switches.plan, .reuse_memory = switches.reuse_memory, .arena = arena_};
  pass_.emplace(context, [this](std::span<const Tensor> in) { return forward_backward(in); }, options);
  options.arena = nullptr;  // its own: BatchNorm's statistics still lie in the pass's arena when it runs
  update_.emplace(context, [this](std::span<const Tensor> in) { return update(in); }, options);
}

void TrainingStep::make_groups(const Config& config, int64_t steps_per_epoch) {
  std::vector<std::vector<Segment>> members(config.optim.size());
  for (const Segment& segment : store_->segments()) {
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
    if (c.name == OptimName::adamw)
      group.optimizer = make_adamw(*store_, parts, {c.betas[0], c.betas[1], c.eps});
    else
      group.optimizer = make_sgd(*store_, parts, {c.momentum, c.nesterov});
    group.schedule = schedule_of(c.schedule.value_or(config.schedule), c.lr, config.train.epochs, steps_per_epoch);
    if (c.frozen_after) group.frozen_from = std::llround(*c.frozen_after * static_cast<double>(steps_per_epoch));
    group.lr = Tensor::zeros(context_, {1}, DType::f64);
    groups_.push_back(std::move(group));
  }
}

/// in: images u8 [n,H,W,C], labels i64 [n], samples i64 [n], weights f32 [n] (1 / pictures of the step).
/// out: losses [n], correct u8 [n], then BatchNorm's statistics. The gradient lies in pass_grads_.
std::vector<Tensor> TrainingStep::forward_backward(std::span<const Tensor> in) {
  context_.enter_phase("forward");
  context_.set_rng_samples(in[2]);
  const auto& n = config_.data.normalize;
  const Tensor x = normalize_images(in[0], {.mean = {n.mean.begin(), n.mean.end()}, .std = {n.std.begin(), n.std.end()}});
  const Tensor logits = (*network_)(x);
  const Tensor losses = cross_entropy(logits, in[1], {.label_smoothing = config_.train.label_smoothing, .reduction = LossReduction::none});
  std::vector<Tensor> out{losses.detach(), top_k_correct(logits.detach(), in[1], 1)};
  context_.enter_phase("backward");
  const std::vector<Tensor> gradients = grad(std::span(&losses, 1), trained_, std::span(&in[3], 1));
  std::vector<int64_t> offsets;
  for (const Segment& segment : store_->segments()) offsets.push_back(segment.begin);
  flatten_into(pass_grads_, gradients, offsets);
  for (Tensor& statistic : network_->take_statistics()) out.push_back(std::move(statistic));
  context_.set_rng_samples({});
  return out;
}

/// in: f32 [1], not zero when the loss is not finite. out: gradient norm, skip flag.
std::vector<Tensor> TrainingStep::update(std::span<const Tensor> in) {
  NoGrad no_grad(context_);
  const GlobalNorm norm = global_norm(store_->grads);
  const Tensor skip = maximum(norm.found_inf, in[0]);
  const Tensor one = Tensor::full(context_, {1}, 1);
  const Tensor scale = config_.train.clip_norm ? clip_coefficient(norm.norm, one, {.max_norm = *config_.train.clip_norm}) : one;
  for (Group& group : groups_)
    if (group.frozen_from < 0 || steps_ < group.frozen_from) group.optimizer->step({group.lr, scale, skip});
  if (average_) average_->step(skip);
  return {norm.norm, skip};
}

std::vector<Tensor> TrainingStep::run_chunk(const data::Batch& batch, int64_t first, int64_t rows, StepOutcome& outcome) {
  const int64_t picture = static_cast<int64_t>(batch.images.size()) / batch.size();
  const auto begin = static_cast<size_t>(first), count = static_cast<size_t>(rows);
  const Shape shape{rows, static_cast<int64_t>(pictures_.height), static_cast<int64_t>(pictures_.width), static_cast<int64_t>(pictures_.channels)};
  const std::vector<Tensor> in{
      Tensor::from<uint8_t>(context_, shape, std::span(batch.images).subspan(begin * static_cast<size_t>(picture), count * static_cast<size_t>(picture))),
      Tensor::from<int64_t>(context_, {rows}, std::span(batch.labels).subspan(begin, count)),
      Tensor::from<int64_t>(context_, {rows}, std::span(batch.indices).subspan(begin, count)),
      Tensor::full(context_, {rows}, 1.0 / static_cast<double>(batch.size()))};
  std::vector<Tensor> out = (*pass_)(in);
  for (float loss : out[0].to_vector<float>()) outcome.loss_sum += loss;
  for (uint8_t correct : out[1].to_vector<uint8_t>()) outcome.correct += correct;
  out.erase(out.begin(), out.begin() + 2);
  return out;
}

/// Leaves the step's gradient in the store; returns BatchNorm's statistics of all lanes.
std::vector<Tensor> TrainingStep::run_lanes(const data::Batch& batch, StepOutcome& outcome) {
  if (switches_.fold) return run_chunk(batch, 0, batch.size(), outcome);
  const int64_t lanes = batch.lanes();
  std::vector<Tensor> statistics;
  lane_sum_->begin();
  for (int lane = 0; lane < lanes; ++lane) {
    const std::vector<Tensor> seen = run_chunk(batch, int64_t{lane} * batch.micro_batch, batch.lane_size(lane), outcome);
    lane_sum_->add(pass_grads_);
    // The pass's outputs are overwritten by the next lane.
    for (size_t i = 0; i < seen.size(); ++i) {
      if (lane == 0) statistics.push_back(Tensor::empty(context_, {lanes, seen[i].size(1)}, seen[i].dtype()));
      slice(statistics[i], 0, lane, lane + 1).copy_from(seen[i]);
    }
  }
  lane_sum_->finish();
  return statistics;
}

void TrainingStep::set_rates() {
  for (Group& group : groups_) {
    const double rate = group.schedule->at(steps_);
    group.lr.write(std::span<const double>(&rate, 1));
    if (group.frozen_from == steps_) update_->reset();  // the recorded update still moves it
  }
}

StepOutcome TrainingStep::run(const data::Batch& batch) {
  StepOutcome outcome{.pictures = batch.size()};
  context_.set_rng_key(config_.run.seed, static_cast<uint64_t>(batch.epoch));
  set_rates();
  const std::vector<Tensor> statistics = run_lanes(batch, outcome);

  context_.enter_phase("optimizer");
  loss_finite_ = std::isfinite(outcome.loss_sum);
  const std::vector<Tensor> result = (*update_)({Tensor::full(context_, {1}, loss_finite_ ? 0 : 1)});
  network_->update_statistics(statistics, {batch.size(), batch.micro_batch}, result[1]);
  outcome.grad_norm = result[0].item();
  outcome.finite = result[1].item() == 0;
  outcome.lr = learning_rate();
  context_.enter_phase({});
  ++steps_;
  return outcome;
}

std::vector<StateTensor> TrainingStep::state() const {
  std::vector<StateTensor> tensors;
  for (size_t i = 0; i < groups_.size(); ++i)
    for (const StateTensor& s : groups_[i].optimizer->state())
      tensors.push_back({"optimizer." + std::to_string(i) + "." + s.name, s.tensor});
  if (average_) tensors.push_back({"ema", average_->average()});
  return tensors;
}

std::string TrainingStep::bad_parameter() const {
  for (const Segment& segment : store_->segments())
    if (!all_finite(store_->view(store_->master, segment))) return segment.name;
  return {};
}

std::string TrainingStep::first_bad_tensor() const {
  if (const std::string name = bad_parameter(); !name.empty()) return "parameter " + name;
  if (!loss_finite_) return "the loss";
  for (const Segment& segment : store_->segments())
    if (!all_finite(store_->view(store_->grads, segment))) return "gradient of " + segment.name;
  return "the gradient norm";
}

void TrainingStep::swap_average() {
  if (average_) std::ranges::swap_ranges(store_->master.span<float>(), average_->average().span<float>());
}

std::vector<PlanStats> TrainingStep::plan_stats() const {
  std::vector<PlanStats> stats = pass_->stats();
  for (const PlanStats& s : update_->stats()) stats.push_back(s);
  return stats;
}

}  // namespace tern
