#include "tools/lane_runner.h"

#include <algorithm>
#include <span>
#include <vector>

namespace tern {

LaneRunner::LaneRunner(Context& context, LanePass& pass, StepSwitches switches, std::shared_ptr<Arena> arena, Tensor gradient)
    : pass_(pass), fold_(switches.fold), gradient_(std::move(gradient)),
      plan_(
          context,
          [this](std::span<const Tensor> in) { return pass_.run(in, loss_scale_, fold_ ? gradient_ : lane_grads_).list(); },
          {.plan = switches.plan, .reuse_memory = switches.reuse_memory, .arena = std::move(arena)}) {
  MemoryTag tag(context, "gradients");
  if (!gradient_.defined()) gradient_ = Tensor::zeros(context, {pass.store().size()});
  if (fold_) return;
  lane_grads_ = Tensor::zeros(context, {pass.store().size()});
  sum_.emplace(gradient_);
}

void LaneRunner::set_loss_scale(const Tensor& loss_scale) {
  if (loss_scale.defined() != loss_scale_.defined()) {
    loss_scale_ = loss_scale.defined() ? Tensor::zeros(gradient_.context(), {1}) : Tensor();
    plan_.reset();
  }
  if (loss_scale.defined()) loss_scale_.copy_from(loss_scale);
}

NodeReport LaneRunner::run(const data::Batch& batch, int64_t first_row, int64_t rows, int64_t pictures, dist::LaneRange lanes,
                           const Tensor& loss_scale) {
  set_loss_scale(loss_scale);
  NodeReport report = fold_ ? run_folded(batch, first_row, rows, pictures, lanes) : run_lanes(batch, first_row, rows, pictures, lanes);
  gradient_.context().enter_phase({});
  return report;
}

NodeReport LaneRunner::run_folded(const data::Batch& batch, int64_t first_row, int64_t rows, int64_t pictures, dist::LaneRange lanes) {
  NodeReport report{lanes.first, lanes.count, {}};
  for (const Tensor& output : plan_(pass_.inputs_of(batch, first_row, rows, pictures))) {
    const std::vector<float> numbers = output.to_vector<float>();
    report.numbers.insert(report.numbers.end(), numbers.begin(), numbers.end());
  }
  return report;
}

/// The same numbers lane by lane: each of the node's lists is put together from those of its lanes.
NodeReport LaneRunner::run_lanes(const data::Batch& batch, int64_t first_row, int64_t rows, int64_t pictures, dist::LaneRange lanes) {
  std::vector<float> losses, hits;
  float loss_bad = 0;
  std::vector<std::vector<float>> statistics;
  sum_->begin();
  for (int lane = 0; lane < lanes.count; ++lane) {
    const int64_t begin = int64_t{lane} * batch.micro_batch, count = std::min<int64_t>(batch.micro_batch, rows - begin);
    const std::vector<Tensor> out = plan_(pass_.inputs_of(batch, first_row + begin, count, pictures));
    sum_->add(lane_grads_);
    const std::vector<float> seen = out[0].to_vector<float>();
    losses.insert(losses.end(), seen.begin(), seen.begin() + count);
    hits.insert(hits.end(), seen.begin() + count, seen.end());
    loss_bad = std::max(loss_bad, out[1].to_vector<float>()[0]);
    statistics.resize(out.size() - 2);
    for (size_t i = 0; i < statistics.size(); ++i) {
      const std::vector<float> statistic = out[i + 2].to_vector<float>();
      statistics[i].insert(statistics[i].end(), statistic.begin(), statistic.end());
    }
  }
  sum_->finish();
  NodeReport report{lanes.first, lanes.count, std::move(losses)};
  const auto append = [&](const std::vector<float>& list) { report.numbers.insert(report.numbers.end(), list.begin(), list.end()); };
  append(hits);
  report.numbers.push_back(loss_bad);
  for (const std::vector<float>& statistic : statistics) append(statistic);
  return report;
}

}  // namespace tern
