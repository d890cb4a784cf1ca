#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "dist/group.h"
#include "dist/reduce_lanes.h"
#include "tools/lane_engine.h"
#include "tools/lane_runner.h"

namespace tern {

/// Every rank of a group computes its share of the lanes; gradients and reports come together in the canonical tree,
/// and every rank takes the same step.
class GroupEngine : public LaneEngine {
 public:
  /// Throws ConfigError where there are more ranks than `lanes`.
  GroupEngine(Context& context, dist::Group& group, int lanes, StepSwitches switches);
  ~GroupEngine() override;

  /// The lanes of a full step that this rank computes.
  dist::LaneRange lanes_here() const { return shares_[static_cast<size_t>(group_.rank())]; }

  void open(LanePass& pass, const data::RunData& data, const std::filesystem::path& folder) override;
  bool reads_pixels() const override { return true; }
  /// `batch` holds the rows of lanes_here().
  std::optional<LaneResults> run(LanePass& pass, const data::Batch& batch, const Tensor& loss_scale, const Tensor& gradient) override;

 private:
  /// Runs this rank's nodes; their gradients are in the first of gradients_.
  std::vector<NodeReport> run_nodes(const data::Batch& batch, std::span<const dist::LaneRange> nodes, const Tensor& loss_scale);
  std::vector<NodeReport> gather_reports(std::span<const std::vector<dist::LaneRange>> nodes, std::span<const NodeReport> mine);

  Context& context_;
  dist::Group& group_;
  StepSwitches switches_;
  std::vector<dist::LaneRange> shares_;
  std::unique_ptr<LaneRunner> runner_;
  std::unique_ptr<dist::LaneReducer> reducer_;
  std::vector<Tensor> gradients_;
};

}  // namespace tern
