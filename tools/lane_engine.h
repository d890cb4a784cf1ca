#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "core/tensor.h"
#include "tools/data_loader.h"
#include "tools/data_run.h"

namespace tern {

class LanePass;

/// What the pass over a node of the canonical tree gave besides its gradient.
struct NodeReport {
  int first = 0, count = 0;    ///< lanes [first, first + count)
  std::vector<float> numbers;  ///< LanePass::Result::list(), one after the other
};

/// The lanes of one step.
struct LaneResults {
  int64_t epoch = 0, step = 0;  ///< step in the epoch
  int64_t pictures = 0;
  std::vector<NodeReport> nodes;  ///< in the order of lanes; together all of the step's
};

/// Computes the lanes of steps outside this process, or in part: workers of a parameter server, ranks of MPI or NCCL.
class LaneEngine {
 public:
  virtual ~LaneEngine() = default;

  /// Gets ready to compute steps of this network on these pictures, for a run in `folder`. Called once, before the folder
  /// is touched: what throws here leaves nothing behind.
  virtual void open(LanePass& pass, const data::RunData& data, const std::filesystem::path& folder) = 0;
  /// The folder is there, and this process has it for itself.
  virtual void folder_opened() {}

  /// Computes the lanes of `batch` with the parameters of `pass` as they are, the loss multiplied by `loss_scale` (f32
  /// [1], or undefined: 1). Leaves the sum of the lanes' gradients, added in the canonical tree (core/lanes.h), in
  /// `gradient`, f32 [P]. An engine that does not keep steps in order gives the results of another step of the epoch.
  /// Nothing when the training is to stop and the step would take too long.
  virtual std::optional<LaneResults> run(LanePass& pass, const data::Batch& batch, const Tensor& loss_scale, const Tensor& gradient) = 0;

  /// Told before run(): says whether the training is to stop, by a signal or for its time; once it does, it always does.
  virtual void stop_when(std::function<bool()>) {}

  /// Whether run() wants the pictures of its batches, or only their names.
  virtual bool reads_pixels() const { return false; }

  /// The step was taken: `pass` holds the parameters after it.
  virtual void updated(LanePass&) {}

  /// No step is under way: those that were taken are the first ones of the epoch, as a checkpoint wants it.
  virtual bool settled() const { return true; }

  /// Whether a run can go on from the step that was taken last as if it had never stopped. Where not, it goes on from the
  /// checkpoint before.
  virtual bool resumable() const { return true; }
};

}  // namespace tern
