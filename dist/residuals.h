#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

/// Gradients of which only the largest entries travel, with error feedback: what a lane does not send is kept and added to
/// its gradient of the next step. Ref: Stich et al. 2018, arXiv:1809.07599; Lin et al. 2018, arXiv:1712.01887.
namespace tern::dist {

struct SparseEntry {
  uint32_t index = 0;
  float value = 0;
  bool operator==(const SparseEntry&) const = default;
};
static_assert(sizeof(SparseEntry) == 8);  // as on the wire

/// The `count` entries of largest magnitude, by ascending index. Among equal magnitudes the lower index comes first; NaN
/// and infinity are larger than every number, so that they are never left out for one.
std::vector<SparseEntry> largest_entries(std::span<const float> values, size_t count);

/// A lane in a step.
struct LaneStep {
  uint64_t run_epoch = 0, step = 0;
  int lane = 0;
  bool carried = false;  ///< the result of this process for the lane in the step before was taken: what it held back is due
  float loss_scale = 1;  ///< by which gradients are multiplied; what is held back is not
};

/// What the lanes that a process computed have held back. A step may be computed again: what the step before held back
/// stays until the step after it is begun.
class Residuals {
 public:
  /// What the lane sends of `gradient`: its `count` largest entries, after what it had held back was added. The rest is
  /// held back. A gradient that is not finite sends that, and leaves what was held back as it was: no update takes it.
  /// Throws Error where something is due that is not here.
  std::vector<SparseEntry> send_largest(const LaneStep& at, std::span<const float> gradient, size_t count);

  /// All of it, with what was held back: nothing is, any more.
  std::vector<float> send_all(const LaneStep& at, std::span<const float> gradient);

  size_t size() const { return held_.size(); }

 private:
  void forget_before(const LaneStep& at);
  std::vector<float> due(const LaneStep& at, size_t length) const;

  uint64_t run_epoch_ = 0;
  std::map<std::pair<uint64_t, int>, std::vector<float>> held_;  // by step and lane
};

}  // namespace tern::dist
