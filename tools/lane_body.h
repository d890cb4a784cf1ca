#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dist/lane_tree.h"
#include "dist/messages.h"
#include "dist/residuals.h"
#include "tools/lane_engine.h"

/// What a worker's result holds: the f32 numbers of NodeReports, one for the lanes of a step, or, where several steps are added
/// (mode epoch), one for each lane of each step; then a gradient as dist/messages.h's Wire says. Results are sent from their
/// end to their beginning, and of a gradient the end is computed first.
namespace tern {

/// The extents that decide how long a result is.
struct BodyLayout {
  int64_t parameters = 0;  ///< P
  int64_t statistics = 0;  ///< floats of BatchNorm statistics a lane
  int micro_batch = 0, lanes = 0;
  dist::Wire wire = dist::Wire::f32;
  int64_t top_k = 0;  ///< entries of a gradient, with Wire::topk

  /// That of a step whose gradients come whole.
  BodyLayout whole() const;
  uint64_t gradient_bytes() const;
  /// Numbers of the report of `range` in a step of `pictures`.
  int64_t numbers(dist::LaneRange range, int64_t pictures) const;
  /// Bytes of a result over `steps` steps with `pictures` in all, every step but the last being full.
  uint64_t bytes(dist::LaneRange range, int64_t steps, int64_t pictures) const;
};

/// Whether bytes of the right length are a body of this layout: with Wire::topk, whose indices grow and stay below P.
bool well_formed(const BodyLayout& layout, dist::Bytes body);

/// A body that is filled while its gradient is computed, from its end on. f32 or f16.
class BodyWriter {
 public:
  BodyWriter(const BodyLayout& layout, dist::LaneRange range, int64_t steps, int64_t pictures);
  /// Elements [first, P) of `gradient` are final. Returns from which byte on the body is.
  size_t write(std::span<const float> gradient, int64_t first);
  /// All that is left.
  std::shared_ptr<std::vector<std::byte>> finish(std::span<const float> gradient, std::span<const NodeReport> reports);
  const std::shared_ptr<std::vector<std::byte>>& body() const { return body_; }

 private:
  BodyLayout layout_;
  std::shared_ptr<std::vector<std::byte>> body_;
  int64_t written_;  // elements from here on
};

/// `gradient` P floats.
std::shared_ptr<std::vector<std::byte>> encode_body(const BodyLayout& layout, std::span<const float> gradient,
                                                    std::span<const NodeReport> reports);
/// The same with Wire::topk, `gradient` top_k entries.
std::shared_ptr<std::vector<std::byte>> encode_body(std::span<const dist::SparseEntry> gradient, std::span<const NodeReport> reports);

struct DecodedBody {
  float* gradient = nullptr;  ///< P floats: in the body itself, or in `converted`: f16, topk; scratch for the sum of nodes
  std::vector<float> converted;
  std::vector<NodeReport> reports;  ///< lanes are counted through all steps: lane l of step s is s * lanes + l
};
/// The reports alone, of a body without its gradient (which went to shards). Throws DataError when the length is wrong.
std::vector<NodeReport> decode_reports(const BodyLayout& layout, dist::Bytes body, dist::LaneRange range, int64_t steps, int64_t pictures);

/// Reads what encode_body wrote for `range` over `steps` steps. Throws DataError when the length is wrong
/// or the body not well-formed.
DecodedBody decode_body(const BodyLayout& layout, std::span<std::byte> body, dist::LaneRange range, int64_t steps, int64_t pictures);

}  // namespace tern
