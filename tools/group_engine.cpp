#include "tools/group_engine.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/device_runtime.h"
#include "core/error.h"
#include "core/lanes.h"

namespace tern {
namespace {

/// A rank's reports one after another, each as a count and its numbers.
std::vector<std::byte> packed(std::span<const NodeReport> reports) {
  std::vector<std::byte> bytes;
  const auto append = [&](const void* from, size_t size) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), begin, begin + size);
  };
  for (const NodeReport& report : reports) {
    const auto count = static_cast<uint64_t>(report.numbers.size());
    append(&count, sizeof count);
    append(report.numbers.data(), report.numbers.size() * sizeof(float));
  }
  return bytes;
}

/// The next report of packed bytes, which it takes away.
std::vector<float> unpacked(std::span<const std::byte>& bytes) {
  uint64_t count = 0;
  if (bytes.size() < sizeof count) throw Error("a rank sent fewer reports than it has nodes");
  std::memcpy(&count, bytes.data(), sizeof count);
  bytes = bytes.subspan(sizeof count);
  if (bytes.size() / sizeof(float) < count) throw Error("a rank sent a report that is cut short");
  std::vector<float> numbers(count);
  std::memcpy(numbers.data(), bytes.data(), count * sizeof(float));
  bytes = bytes.subspan(count * sizeof(float));
  return numbers;
}

}  // namespace

GroupEngine::GroupEngine(Context& context, dist::Group& group, int lanes, StepSwitches switches)
    : context_(context), group_(group), switches_(switches), shares_(dist::share_lanes(lanes, group.size())) {
  if (group.size() > lanes)
    throw ConfigError("train.lanes is " + std::to_string(lanes) + ", but there are " + std::to_string(group.size()) +
                      " ranks: each needs a lane; start fewer, or divide train.micro_batch and multiply train.lanes (another training)");
  group.use_stream(context.runtime().native_stream());
}

GroupEngine::~GroupEngine() { group_.use_stream(nullptr); }

std::vector<NodeReport> GroupEngine::run_nodes(const data::Batch& batch, std::span<const dist::LaneRange> nodes, const Tensor& loss_scale) {
  const Lanes lanes{batch.step_pictures, batch.micro_batch};
  std::vector<NodeReport> reports;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const int64_t first = lanes.begin(nodes[i].first), rows = lanes.end(nodes[i].end() - 1) - first;
    reports.push_back(runner_->run(batch, first - batch.first_row, rows, batch.step_pictures, nodes[i], loss_scale));
    if (nodes.size() == 1) break;  // the runner's own serves
    if (gradients_.size() == i + 1) gradients_.push_back(Tensor::empty(context_, {runner_->gradient().numel()}));
    gradients_[i + 1].copy_from(runner_->gradient());
  }
  return reports;
}

std::vector<NodeReport> GroupEngine::gather_reports(std::span<const std::vector<dist::LaneRange>> nodes, std::span<const NodeReport> mine) {
  const std::vector<std::vector<std::byte>> all = dist::all_gather(group_, packed(mine));
  std::vector<NodeReport> reports;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    std::span<const std::byte> bytes = all[rank];
    for (const dist::LaneRange node : nodes[rank]) reports.push_back({node.first, node.count, unpacked(bytes)});
  }
  return reports;
}

void GroupEngine::open(LanePass& pass, const data::RunData&, const std::filesystem::path&) {
  runner_ = std::make_unique<LaneRunner>(context_, pass, switches_);
  reducer_ = std::make_unique<dist::LaneReducer>(group_, context_, pass.store().size());
  gradients_.push_back(runner_->gradient());
}

std::optional<LaneResults> GroupEngine::run(LanePass&, const data::Batch& batch, const Tensor& loss_scale, const Tensor& gradient) {
  const int lanes = static_cast<int>(Lanes{batch.step_pictures, batch.micro_batch}.count());
  std::vector<dist::LaneRange> shares = shares_;  // of this step, which may be ragged
  std::vector<std::vector<dist::LaneRange>> nodes;
  for (dist::LaneRange& share : shares) {
    share.count = std::clamp(lanes - share.first, 0, share.count);
    nodes.push_back(dist::canonical_nodes(lanes, share));
  }
  const std::vector<dist::LaneRange>& mine = nodes[static_cast<size_t>(group_.rank())];
  const std::vector<NodeReport> reports = run_nodes(batch, mine, loss_scale);
  const std::span all_gradients(gradients_);
  reducer_->reduce(lanes, shares, mine.size() == 1 ? all_gradients.first(1) : all_gradients.subspan(1, mine.empty() ? 0 : mine.size()), gradient);
  return LaneResults{.epoch = batch.epoch, .step = batch.step, .pictures = batch.step_pictures, .nodes = gather_reports(nodes, reports)};
}

}  // namespace tern
